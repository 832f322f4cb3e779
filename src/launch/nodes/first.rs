//! Node 0: waits for the other nodes, has them start their ranks, and treats these ranks as its own.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
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

/// At most so many connections at a time that have not yet proved who they are.
const MAX_GREETINGS: usize = 64;
/// The exit codes with which all nodes end if they do not meet. The command line uses the same codes.
const INVALID: u8 = 3;
const INTERRUPTED: u8 = 7;

/// The other nodes of a run, in order, and what they report.
pub struct Nodes {
    others: Vec<Node>,
    ranks_per_node: usize,
    /// The address of this machine that they know.
    address: IpAddr,
    process_events: ProcessEvents,
    answers: Receiver<(usize, Answer)>,
}

/// Both ends of the channel on which all ranks report.
type ProcessEvents = (Sender<(usize, ProcessEvent)>, Receiver<(usize, ProcessEvent)>);

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
    Interrupted,
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
        listener.set_nonblocking(true).map_err(cannot)?;
        let (process_events, (answer, answers)) = (unbounded(), unbounded());
        let (arrival, arrivals) = unbounded();
        let num_greetings = Arc::<AtomicUsize>::default();
        let has_met = Arc::<AtomicBool>::default();
        let mut address = None;
        let mut nodes: BTreeMap<usize, Node> = BTreeMap::new();
        let deadline = Instant::now() + Duration::from_secs(timeout_s);
        while nodes.len() + 1 < rendezvous.num_nodes {
            let failure = if interrupts.pending() {
                Some((INTERRUPTED, NodeError::Interrupted))
            } else if Instant::now() > deadline {
                Some((INVALID, missing(rendezvous.num_nodes, &nodes, timeout_s)))
            } else {
                None
            };
            if let Some((code, error)) = failure {
                for node in nodes.values() {
                    node.sending.send(&FromFirst::End { code });
                }
                return Err(error);
            }
            if let Ok((stream, _)) = listener.accept()
                && num_greetings.load(Ordering::Relaxed) < MAX_GREETINGS
            {
                greet_aside(stream, rendezvous.num_nodes, (&arrival, &num_greetings));
            }
            // A launcher that ended while the others were on their way may be started again.
            while let Ok((node, Answer::Lost)) = answers.try_recv() {
                nodes.remove(&node);
            }
            let Ok(it) = arrivals.recv_timeout(POLL) else { continue };
            if nodes.contains_key(&it.node) {
                let reason =
                    format!("node {} is there already; give each its --node-rank", it.node);
                it.sending.send(&FromFirst::Reject { reason });
                continue;
            }
            let proof = Key::from_env().proof(Prover::First, &it.number);
            it.sending.send(&FromFirst::Welcome { proof, host: host_name() });
            it.sending.keep_alive(FromFirst::Beat);
            address.get_or_insert(it.address);
            let seen = Arc::<Mutex<Seen>>::default();
            let reports = Reports {
                node: it.node,
                ranks: it.node * ranks_per_node..(it.node + 1) * ranks_per_node,
                seen: Arc::clone(&seen),
                has_met: Arc::clone(&has_met),
                process_event: process_events.0.clone(),
                answer: answer.clone(),
            };
            thread::spawn(move || reports.pass_on(it.receiving));
            nodes.insert(it.node, Node { host: it.host, sending: it.sending, seen });
        }
        has_met.store(true, Ordering::Relaxed);
        Ok(Self {
            others: nodes.into_values().collect(),
            ranks_per_node,
            address: address.expect("a run of one node does not wait"),
            process_events,
            answers,
        })
    }

    /// Has every node make a run ready, and start its ranks once all are. Returns the nodes that do not
    /// see the folder of the run.
    pub fn start(
        &self,
        offer: &Offer,
        timeout_s: u64,
        interrupts: &Interrupts,
    ) -> Result<Vec<usize>, NodeError> {
        self.others.iter().for_each(|node| *lock(&node.seen) = Seen::default());
        self.send_all(&FromFirst::Offer(Box::new(offer.clone())));
        let deadline = Instant::now() + Duration::from_secs(timeout_s);
        let mut without_folder = Vec::new();
        let mut ready = Vec::new();
        while ready.len() < self.others.len() {
            if interrupts.pending() {
                return Err(NodeError::Interrupted);
            }
            match self.answers.recv_timeout(POLL) {
                Ok((node, Answer::Ready { sees_run })) => {
                    ready.push(node);
                    without_folder.extend((!sees_run).then_some(node));
                }
                Ok((node, Answer::Refuse { reason })) => {
                    let host = self.others[node - 1].host.clone();
                    return Err(NodeError::Refused { node, host, reason });
                }
                Ok((_, Answer::Interrupted)) => return Err(NodeError::Interrupted),
                Ok((node, Answer::Lost)) => return Err(NodeError::Lost(self.name(node))),
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    let node = (1..=self.others.len()).find(|node| !ready.contains(node));
                    let name = self.name(node.expect("one is not ready"));
                    return Err(NodeError::NotReady { name, timeout_s });
                }
                Err(_) => {}
            }
        }
        self.send_all(&FromFirst::Start);
        Ok(without_folder)
    }

    /// Ends all nodes with an exit code.
    pub fn end(&self, code: u8) {
        self.send_all(&FromFirst::End { code });
    }

    /// The ranks of the other nodes, in order.
    pub(in crate::launch) fn ranks(&self) -> impl Iterator<Item = RemoteRank> {
        (1..).zip(&self.others).flat_map(|(node, it)| {
            (node * self.ranks_per_node..(node + 1) * self.ranks_per_node).map(move |rank| {
                let (sending, seen) = (it.sending.clone(), Arc::clone(&it.seen));
                RemoteRank { rank, host: it.host.clone(), sending, seen }
            })
        })
    }

    /// Where all ranks report.
    pub(in crate::launch) fn process_events(&self) -> ProcessEvents {
        self.process_events.clone()
    }

    /// The interface on which node 0 listens.
    pub fn interface(&self) -> Option<Interface> {
        Interface::with(self.address)
    }

    fn name(&self, node: usize) -> String {
        format!("node {node} on {}", self.others[node - 1].host)
    }

    fn send_all(&self, message: &FromFirst) {
        self.others.iter().for_each(|node| node.sending.send(message));
    }
}

/// Listens at the address of `host` only. On Debian, a machine's own name means its loopback interface;
/// then on all interfaces.
fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let named: Option<IpAddr> = host.parse().ok();
    let means_loopback = host == "localhost" || named.is_some_and(|address| address.is_loopback());
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    if !means_loopback {
        let is_own_name = addresses.iter().any(|address| address.ip().is_loopback());
        addresses.retain(|address| !address.ip().is_loopback());
        if addresses.is_empty() && is_own_name {
            addresses.push((Ipv4Addr::UNSPECIFIED, port).into());
        }
    }
    let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Greets on a thread of its own: a connection on which nothing comes must not keep nodes waiting.
fn greet_aside(
    stream: TcpStream,
    num_nodes: usize,
    (arrival, num_greetings): (&Sender<Arrival>, &Arc<AtomicUsize>),
) {
    let (arrival, count) = (arrival.clone(), Arc::clone(num_greetings));
    count.fetch_add(1, Ordering::Relaxed);
    let greeting = thread::Builder::new().spawn(move || {
        if let Some(it) = greet(stream, num_nodes) {
            let _ = arrival.send(it);
        }
        count.fetch_sub(1, Ordering::Relaxed);
    });
    if greeting.is_err() {
        num_greetings.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A node that has proved itself.
struct Arrival {
    node: usize,
    host: String,
    /// What node 0 has to answer to prove itself.
    number: String,
    /// The address of this machine to which it has connected.
    address: IpAddr,
    sending: Sending,
    receiving: Receiving,
}

/// Finds out who has connected; `None` for one that is not let in.
fn greet(stream: TcpStream, num_nodes: usize) -> Option<Arrival> {
    let address = stream.local_addr().ok()?.ip();
    let (sending, mut receiving) = halves(stream).ok()?;
    let number = random_text();
    let version = env!("MLPERF_RUN_VERSION").to_owned();
    sending.send(&FromFirst::Challenge { number: number.clone(), version });
    let hello = receiving.first().ok()?;
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
        return Some(Arrival { node, host, number: its_number, address, sending, receiving });
    };
    sending.send(&FromFirst::Reject { reason });
    None
}

fn missing(num_nodes: usize, arrived: &BTreeMap<usize, Node>, timeout_s: u64) -> NodeError {
    let numbers = (1..num_nodes).filter(|node| !arrived.contains_key(node));
    let missing: Vec<_> = numbers.map(|node| format!("node {node}")).collect();
    let others = arrived.iter().map(|(node, it)| format!("node {node} on {}", it.host));
    let here = std::iter::once(format!("node 0 on {}", host_name()));
    let arrived: Vec<_> = here.chain(others).collect();
    NodeError::Missing { missing: missing.join(", "), arrived: arrived.join(", "), timeout_s }
}

/// Where the reports of a node go.
struct Reports {
    node: usize,
    ranks: std::ops::Range<usize>,
    seen: Arc<Mutex<Seen>>,
    /// Whether all nodes were there. Before that, it has no ranks.
    has_met: Arc<AtomicBool>,
    process_event: Sender<(usize, ProcessEvent)>,
    answer: Sender<(usize, Answer)>,
}

impl Reports {
    /// Passes on all reports until the connection ends.
    fn pass_on(self, mut receiving: Receiving) {
        while let Ok(message) = receiving.next() {
            match message {
                FromNode::Event { rank, event } => self.tell(rank, ProcessEvent::Event(event)),
                FromNode::Gone { rank, exit_status, log_tail } => {
                    lock(&self.seen).log_tails.insert(rank, log_tail);
                    self.tell(rank, ProcessEvent::Gone(exit_status));
                }
                FromNode::Interrupted => {
                    self.answer(Answer::Interrupted);
                    self.tell(self.ranks.start, ProcessEvent::Interrupted);
                }
                FromNode::States { states } => {
                    lock(&self.seen).states = states.into_iter().collect();
                }
                FromNode::Ready { sees_run } => self.answer(Answer::Ready { sees_run }),
                FromNode::Refuse { reason } => self.answer(Answer::Refuse { reason }),
                FromNode::Hello { .. } | FromNode::Beat => {}
            }
        }
        self.answer(Answer::Lost);
        self.ranks.clone().for_each(|rank| self.tell(rank, ProcessEvent::Gone(ExitStatus::Lost)));
    }

    /// Only the node's own ranks are its to speak of.
    fn tell(&self, rank: usize, event: ProcessEvent) {
        if self.ranks.contains(&rank) && self.has_met.load(Ordering::Relaxed) {
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
