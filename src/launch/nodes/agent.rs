//! The launcher of a node other than node 0: it starts the ranks of its machine and does what node 0 says.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, TcpStream, ToSocketAddrs},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, select, tick, unbounded};

use super::{
    Interface, NodeError, Offer, Rendezvous,
    access::{Key, Prover, random_text},
    wire::{BEAT, FromFirst, FromNode, Receiving, Sending, halves},
};
use crate::{
    events::{FailureKind, RankEvent},
    launch::{
        Interrupts, LaunchError, host_name,
        process::RankProcess,
        supervise::{Process, ProcessEvent},
    },
};

/// Between two attempts to reach node 0.
const RETRY: Duration = Duration::from_millis(200);

/// The connection to node 0.
pub struct FirstNode {
    name: String,
    sending: Sending,
    /// Its messages; closed when it is lost.
    messages: Receiver<FromFirst>,
    address: IpAddr,
}

/// What node 0 wants next.
#[derive(Debug)]
pub enum Order {
    /// To take part in a run.
    Run(Box<Offer>),
    /// To end with an exit code.
    End(u8),
}

impl FirstNode {
    /// Connects to node 0, which may start later, as `node`.
    pub fn join(
        rendezvous: &Rendezvous,
        (node, timeout_s): (usize, u64),
        interrupts: &Interrupts,
    ) -> Result<Self, NodeError> {
        let (host, port) = &rendezvous.address;
        let deadline = Instant::now() + Duration::from_secs(timeout_s);
        let stream = loop {
            let error = match connect(host, *port) {
                Ok(stream) => break stream,
                Err(error) => error,
            };
            if interrupts.pending() {
                return Err(NodeError::Interrupted);
            }
            if Instant::now() > deadline {
                let (address, reason) = (format!("{host}:{port}"), error.to_string());
                return Err(NodeError::Unreachable { address, timeout_s, reason });
            }
            thread::sleep(RETRY);
        };
        let address =
            stream.local_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
        let lost = |_: io::Error| NodeError::Lost(format!("node 0 at {host}:{port}"));
        let (sending, mut receiving) = halves(stream).map_err(lost)?;
        let name = introduce(&sending, &mut receiving, (rendezvous, node)).map_err(|error| {
            error.unwrap_or_else(|| NodeError::Lost(format!("node 0 at {host}:{port}")))
        })?;
        sending.keep_alive(FromNode::Beat);
        let (message, messages) = unbounded();
        thread::spawn(move || pass_on(receiving, &message));
        Ok(Self { name: format!("node 0 on {name}"), sending, messages, address })
    }

    /// Waits for the next order.
    pub fn next_order(&self, interrupts: &Interrupts) -> Result<Order, NodeError> {
        let mut num_signals = 0;
        loop {
            select! {
                recv(self.messages) -> message => match message {
                    Ok(FromFirst::Offer(offer)) => return Ok(Order::Run(offer)),
                    Ok(FromFirst::End { code }) => return Ok(Order::End(code)),
                    Ok(_) => {}
                    Err(_) => return Err(NodeError::Lost(self.name.clone())),
                },
                recv(interrupts.channel()) -> _ => self.interrupt(&mut num_signals)?,
            }
        }
    }

    /// Has node 0 end all nodes. A second signal ends this one at once.
    fn interrupt(&self, num_signals: &mut usize) -> Result<(), NodeError> {
        *num_signals += 1;
        if *num_signals > 1 {
            return Err(NodeError::Interrupted);
        }
        self.sending.send(&FromNode::Interrupted);
        Ok(())
    }

    /// Tells node 0 why this node does not take part.
    pub fn refuse(&self, reason: &str) {
        self.sending.send(&FromNode::Refuse { reason: reason.to_owned() });
    }

    /// The interface that leads to node 0.
    pub fn interface(&self) -> Option<Interface> {
        Interface::with(self.address)
    }

    /// Says that this node is ready, starts its ranks when all nodes are, and returns when the last one has
    /// ended; or returns the exit code with which node 0 ends all nodes before that. `start` gets the
    /// channel on which ranks report.
    pub(in crate::launch) fn run_ranks(
        &self,
        (sees_run, first_rank): (bool, usize),
        start: impl FnOnce(
            &Sender<(usize, ProcessEvent)>,
        ) -> Result<Vec<(usize, RankProcess)>, LaunchError>,
        interrupts: &Interrupts,
    ) -> Result<Option<u8>, LaunchError> {
        self.sending.send(&FromNode::Ready { sees_run });
        if let Some(code) = self.wait_for_start(interrupts)? {
            return Ok(Some(code));
        }
        let (process_event, process_events) = unbounded();
        let mut ranks = start(&process_event).inspect_err(|error| {
            let (rank, kind, message) = (first_rank, FailureKind::Input, error.to_string());
            let event = RankEvent::Failed { rank, kind, message };
            self.sending.send(&FromNode::Event { rank, event });
        })?;
        let mut num_signals = 0;
        let ticks = tick(BEAT);
        while !ranks.is_empty() {
            select! {
                recv(process_events) -> message => {
                    let (rank, event) = message.expect("this function has a sender");
                    self.report(rank, event, &mut ranks);
                }
                recv(self.messages) -> message => match message {
                    Ok(FromFirst::Terminate { rank }) => each(&mut ranks, rank, Process::terminate),
                    Ok(FromFirst::Kill { rank }) => each(&mut ranks, rank, Process::kill),
                    Ok(FromFirst::End { code }) => return Ok(Some(code)),
                    Ok(_) => {}
                    // Dropping the ranks kills them.
                    Err(_) => return Err(NodeError::Lost(self.name.clone()).into()),
                },
                recv(interrupts.channel()) -> _ => {
                    num_signals += 1;
                    match num_signals {
                        // Node 0 then stops all ranks after the same step.
                        1 => self.sending.send(&FromNode::Interrupted),
                        _ => ranks.iter_mut().for_each(|(_, process)| process.kill()),
                    }
                }
                recv(ticks) -> _ => {
                    let state = |(rank, process): &(usize, RankProcess)| Some((*rank, process.state()?));
                    let states = ranks.iter().filter_map(state).collect();
                    self.sending.send(&FromNode::States { states });
                }
            }
        }
        Ok(None)
    }

    /// Returns when all nodes are ready, or with the exit code with which node 0 ends them.
    fn wait_for_start(&self, interrupts: &Interrupts) -> Result<Option<u8>, NodeError> {
        let mut num_signals = 0;
        loop {
            select! {
                recv(self.messages) -> message => match message {
                    Ok(FromFirst::Start) => return Ok(None),
                    Ok(FromFirst::End { code }) => return Ok(Some(code)),
                    Ok(_) => {}
                    Err(_) => return Err(NodeError::Lost(self.name.clone())),
                },
                recv(interrupts.channel()) -> _ => self.interrupt(&mut num_signals)?,
            }
        }
    }

    /// Passes on what happens to a rank. One that has ended is forgotten.
    fn report(&self, rank: usize, event: ProcessEvent, ranks: &mut Vec<(usize, RankProcess)>) {
        let message = match event {
            ProcessEvent::Event(event) => FromNode::Event { rank, event },
            ProcessEvent::Gone(exit_status) => {
                let at = ranks.iter().position(|(other, _)| *other == rank);
                let (_, process) = ranks.swap_remove(at.expect("a rank ends once"));
                FromNode::Gone { rank, exit_status, log_tail: process.log_tail() }
            }
            ProcessEvent::Interrupted => return,
        };
        self.sending.send(&message);
    }
}

/// Tries all addresses of `host`.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    const LIMIT: Duration = Duration::from_secs(5);
    let mut failure = io::Error::other("it has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Says who this node is and has node 0 prove itself. Returns the name of its host. `None` if it says
/// nothing, or no word of ours.
fn introduce(
    sending: &Sending,
    receiving: &mut Receiving,
    (rendezvous, node): (&Rendezvous, usize),
) -> Result<String, Option<NodeError>> {
    let key = Key::from_env();
    let own = env!("MLPERF_RUN_VERSION");
    let FromFirst::Challenge { number, version } = receiving.next().map_err(|_| None)? else {
        return Err(None);
    };
    if version != own {
        return Err(Some(NodeError::Differs {
            what: format!("mlperf-run {own}"),
            first: version,
            fix: "install the same on all nodes",
        }));
    }
    let own_number = random_text();
    let proof = key.proof(Prover::Other, &number);
    let num_nodes = rendezvous.num_nodes;
    let (host, number) = (host_name(), own_number.clone());
    sending.send(&FromNode::Hello { node, num_nodes, host, number, proof });
    loop {
        match receiving.next().map_err(|_| None)? {
            FromFirst::Welcome { proof, host }
                if proof == key.proof(Prover::First, &own_number) =>
            {
                return Ok(host);
            }
            FromFirst::Welcome { host, .. } => {
                return Err(Some(NodeError::Key(format!("node 0 on {host}"))));
            }
            FromFirst::Reject { reason } => return Err(Some(NodeError::Rejected(reason))),
            _ => {}
        }
    }
}

/// Passes on node 0's messages until the connection ends.
fn pass_on(mut receiving: Receiving, message: &Sender<FromFirst>) {
    while let Ok(received) = receiving.next() {
        if !matches!(received, FromFirst::Beat) && message.send(received).is_err() {
            return;
        }
    }
}

fn each(ranks: &mut [(usize, RankProcess)], rank: usize, act: impl Fn(&mut RankProcess)) {
    ranks.iter_mut().filter(|(other, _)| *other == rank).for_each(|(_, process)| act(process));
}
