//! Node 0: waits for the other nodes, has them start their ranks, and treats these ranks as its own.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{IpAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::{
    Interface, NodeError, Offer, Rendezvous,
    access::{Key, Prover, random_text},
    wire::{FromFirst, FromNode, Receiving, Sending, halves},
};
use crate::launch::{
    Interrupts, host_name,
    supervise::{ExitStatus, Process, ProcessEvent},
};

/// How often node 0 looks for what it waits for.
const POLL: Duration = Duration::from_millis(20);

/// The other nodes of a run, in order, and what they report.
pub struct Nodes {
    nodes: Vec<Node>,
    ranks_per_node: usize,
    address: IpAddr,
    process_events: (Sender<(usize, ProcessEvent)>, Receiver<(usize, ProcessEvent)>),
    answers: Receiver<(usize, Answer)>,
}

/// Another node.
struct Node {
    host: String,
    sending: Sending,
    seen: Arc<Mutex<Seen>>,
}

/// What a node has last said about its ranks.
#[derive(Default)]
struct Seen {
    states: BTreeMap<usize, char>,
    log_tails: BTreeMap<usize, String>,
}

/// What a node says to an offer.
enum Answer {
    Ready { sees_run: bool },
    Refuse { reason: String },
    Lost,
}

impl Nodes {
    /// Waits until all other nodes are there. Those that must not take part are told why.
    pub fn gather(
        rendezvous: &Rendezvous,
        (ranks_per_node, timeout_s): (usize, u64),
        interrupts: &Interrupts,
    ) -> Result<Self, NodeError> {
        let (host, port) = &rendezvous.address;
        let cannot = |source| NodeError::Listen { address: format!("{host}:{port}"), source };
        let listener = listen(host, *port).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?.ip();
        listener.set_nonblocking(true).map_err(cannot)?;
        let (process_events, (answer, answers)) = (unbounded(), unbounded());
        let (arrival, arrivals) = unbounded();
        let mut arrived: BTreeMap<usize, Arrival> = BTreeMap::new();
        let deadline = Instant::now() + Duration::from_secs(timeout_s);
        while arrived.len() + 1 < rendezvous.num_nodes {
            if interrupts.pending() {
                return Err(NodeError::Interrupted);
            }
            if Instant::now() > deadline {
                return Err(missing(rendezvous.num_nodes, &arrived, timeout_s));
            }
            if let Ok((stream, _)) = listener.accept() {
                // A stranger who says nothing must not keep nodes waiting.
                let (arrival, num_nodes) = (arrival.clone(), rendezvous.num_nodes);
                thread::spawn(move || greet(stream, num_nodes).map(|it| arrival.send(it)));
            }
            match arrivals.recv_timeout(POLL) {
                Ok(Arrival { node, sending, .. }) if arrived.contains_key(&node) => {
                    let reason = format!("node {node} is there already; give each its --node-rank");
                    sending.send(&FromFirst::Reject { reason });
                }
                Ok(it) => {
                    let proof = Key::from_env().proof(Prover::First, &it.number);
                    it.sending.send(&FromFirst::Welcome { proof, host: host_name() });
                    it.sending.keep_alive(FromFirst::Beat);
                    arrived.insert(it.node, it);
                }
                Err(_) => {}
            }
        }
        let reporting = |it: Arrival| {
            let seen = Arc::<Mutex<Seen>>::default();
            let reports = Reports {
                node: it.node,
                ranks: it.node * ranks_per_node..(it.node + 1) * ranks_per_node,
                seen: Arc::clone(&seen),
                process_event: process_events.0.clone(),
                answer: answer.clone(),
            };
            thread::spawn(move || reports.pass_on(it.receiving));
            Node { host: it.host, sending: it.sending, seen }
        };
        let nodes = arrived.into_values().map(reporting).collect();
        Ok(Self { nodes, ranks_per_node, address, process_events, answers })
    }

    /// Has every node make a run ready, and start its ranks once all are. Returns the nodes that do not
    /// see the folder of the run.
    pub fn start(
        &self,
        offer: &Offer,
        timeout_s: u64,
        interrupts: &Interrupts,
    ) -> Result<Vec<usize>, NodeError> {
        self.send_all(&FromFirst::Offer(Box::new(offer.clone())));
        let deadline = Instant::now() + Duration::from_secs(timeout_s);
        let mut blind = Vec::new();
        let mut ready = Vec::new();
        while ready.len() < self.nodes.len() {
            if interrupts.pending() {
                return Err(NodeError::Interrupted);
            }
            match self.answers.recv_timeout(POLL) {
                Ok((node, Answer::Ready { sees_run })) => {
                    ready.push(node);
                    blind.extend((!sees_run).then_some(node));
                }
                Ok((node, Answer::Refuse { reason })) => {
                    let host = self.nodes[node - 1].host.clone();
                    return Err(NodeError::Refused { node, host, reason });
                }
                Ok((node, Answer::Lost)) => return Err(NodeError::Lost(self.name(node))),
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    let node = (1..=self.nodes.len()).find(|node| !ready.contains(node));
                    return Err(NodeError::Lost(self.name(node.expect("one is not ready"))));
                }
                Err(_) => {}
            }
        }
        self.send_all(&FromFirst::Start);
        Ok(blind)
    }

    /// Ends all nodes with an exit code.
    pub fn end(&self, code: u8) {
        self.send_all(&FromFirst::End { code });
    }

    /// The ranks of the other nodes, in order.
    pub(in crate::launch) fn ranks(&self) -> impl Iterator<Item = RemoteRank> {
        (1..).zip(&self.nodes).flat_map(|(node, it)| {
            (node * self.ranks_per_node..(node + 1) * self.ranks_per_node).map(move |rank| {
                let (sending, seen) = (it.sending.clone(), Arc::clone(&it.seen));
                RemoteRank { rank, host: it.host.clone(), sending, seen }
            })
        })
    }

    /// Where all ranks report.
    pub(in crate::launch) fn process_events(
        &self,
    ) -> (Sender<(usize, ProcessEvent)>, Receiver<(usize, ProcessEvent)>) {
        self.process_events.clone()
    }

    /// The interface on which node 0 listens.
    pub fn interface(&self) -> Option<Interface> {
        Interface::with(self.address)
    }

    fn name(&self, node: usize) -> String {
        format!("node {node} on {}", self.nodes[node - 1].host)
    }

    fn send_all(&self, message: &FromFirst) {
        self.nodes.iter().for_each(|node| node.sending.send(message));
    }
}

/// Listens at the address of `host` only.
fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A node that has proved itself.
struct Arrival {
    node: usize,
    host: String,
    /// What node 0 has to answer to prove itself.
    number: String,
    sending: Sending,
    receiving: Receiving,
}

/// Finds out who has connected; `None` for one that is not let in.
fn greet(stream: TcpStream, num_nodes: usize) -> Option<Arrival> {
    let (sending, mut receiving) = halves(stream).ok()?;
    let number = random_text();
    let version = env!("MLPERF_RUN_VERSION").to_owned();
    sending.send(&FromFirst::Challenge { number: number.clone(), version });
    let hello = receiving.next().ok()?;
    let FromNode::Hello { node, num_nodes: its_num_nodes, host, number: its_number, proof } = hello
    else {
        return None;
    };
    let reason = if proof != Key::from_env().proof(Prover::Other, &number) {
        "it has another MLPERF_RUN_KEY; set the same one on all nodes".to_owned()
    } else if its_num_nodes != num_nodes {
        format!(
            "it was started with --nnodes {its_num_nodes}, and node 0 with --nnodes {num_nodes}"
        )
    } else if !(1..num_nodes).contains(&node) {
        format!("--node-rank {node} is not from 1 to {}", num_nodes - 1)
    } else {
        return Some(Arrival { node, host, number: its_number, sending, receiving });
    };
    sending.send(&FromFirst::Reject { reason });
    None
}

fn missing(num_nodes: usize, arrived: &BTreeMap<usize, Arrival>, timeout_s: u64) -> NodeError {
    let numbers = (1..num_nodes).filter(|node| !arrived.contains_key(node));
    let missing: Vec<_> = numbers.map(|node| format!("node {node}")).collect();
    let others = arrived.values().map(|it| format!("node {} on {}", it.node, it.host));
    let here = std::iter::once(format!("node 0 on {}", host_name()));
    let arrived: Vec<_> = here.chain(others).collect();
    NodeError::Missing { missing: missing.join(", "), arrived: arrived.join(", "), timeout_s }
}

/// Where the reports of a node go.
struct Reports {
    node: usize,
    ranks: std::ops::Range<usize>,
    seen: Arc<Mutex<Seen>>,
    process_event: Sender<(usize, ProcessEvent)>,
    answer: Sender<(usize, Answer)>,
}

impl Reports {
    /// Passes on all reports until the connection ends.
    fn pass_on(self, mut receiving: Receiving) {
        while let Ok(message) = receiving.next() {
            // Whoever would read it has given up on the run.
            let _ = match message {
                FromNode::Event { rank, event } => self.tell(rank, ProcessEvent::Event(event)),
                FromNode::Gone { rank, exit_status, log_tail } => {
                    lock(&self.seen).log_tails.insert(rank, log_tail);
                    self.tell(rank, ProcessEvent::Gone(exit_status))
                }
                FromNode::Interrupted => self.tell(self.ranks.start, ProcessEvent::Interrupted),
                FromNode::States { states } => {
                    lock(&self.seen).states = states.into_iter().collect()
                }
                FromNode::Ready { sees_run } => self.answer(Answer::Ready { sees_run }),
                FromNode::Refuse { reason } => self.answer(Answer::Refuse { reason }),
                FromNode::Hello { .. } | FromNode::Beat => {}
            };
        }
        self.answer(Answer::Lost);
        self.ranks.clone().for_each(|rank| self.tell(rank, ProcessEvent::Gone(ExitStatus::Lost)));
    }

    /// Only the node's own ranks are its to speak of.
    fn tell(&self, rank: usize, event: ProcessEvent) {
        if self.ranks.contains(&rank) {
            let _ = self.process_event.send((rank, event));
        }
    }

    fn answer(&self, answer: Answer) {
        let _ = self.answer.send((self.node, answer));
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rank of another node.
pub(in crate::launch) struct RemoteRank {
    rank: usize,
    host: String,
    sending: Sending,
    seen: Arc<Mutex<Seen>>,
}

impl Process for RemoteRank {
    fn terminate(&mut self) {
        self.sending.send(&FromFirst::Terminate { rank: self.rank });
    }

    fn kill(&mut self) {
        self.sending.send(&FromFirst::Kill { rank: self.rank });
    }

    fn state(&self) -> Option<char> {
        lock(&self.seen).states.get(&self.rank).copied()
    }

    fn log_tail(&self) -> String {
        lock(&self.seen).log_tails.get(&self.rank).cloned().unwrap_or_default()
    }

    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }
}
