//! The supervisor: what is done when a rank speaks, ends or stays silent.
//!
//! A state machine without a clock of its own, so that tests can say what happens at which time:
//! `Running` -> `Closing` (the clock stands; weights are written, devices let go) or `Gathering` (a
//! rank failed; others may know better why) -> `Stopping` (SIGTERM is out) -> `Killing` (SIGKILL is
//! out). It is done when every rank has ended.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never, select};

use crate::events::{FailureKind, RankEvent};
use crate::mlperf::RunStatus;

/// How long each kind of waiting lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// From the first failure to SIGTERM: time for other ranks to name the cause.
    pub(super) gather: Duration,
    /// From SIGTERM to SIGKILL after a failure.
    pub(super) grace: Duration,
    /// From `run_stop` to SIGTERM: time to write weights and to let devices and peers go, which
    /// drivers have been known to wait in for ever.
    pub(super) closing: Duration,
    /// From SIGTERM to SIGKILL when a person stopped the run: time to end the step and the log.
    pub(super) interrupt_grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(300),
            grace: Duration::from_secs(3),
            closing: Duration::from_secs(120),
            interrupt_grace: Duration::from_secs(30),
        }
    }
}

/// A rank's process as the supervisor sees it.
pub(super) trait Process {
    /// Asks it to stop (SIGTERM).
    fn terminate(&mut self);
    /// Ends it (SIGKILL).
    fn kill(&mut self);
    /// The last lines it wrote to its log.
    fn log_tail(&self) -> String;
}

/// What the supervisor learns of a rank.
#[derive(Clone, Debug)]
pub(super) enum ProcessEvent {
    /// It said something.
    Event(RankEvent),
    /// It is gone; everything it said has arrived before.
    Gone(ExitStatus),
}

/// Exit codes of a rank that ended without failure: done, or asked to stop. They are the exit codes
/// of the command line.
const DONE: i32 = 0;
const ASKED_TO_STOP: i32 = 7;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExitStatus {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// How a run ended, as far as its processes tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// What `run_stop` says; `None` when the run never got there.
    pub status: Option<RunStatus>,
    /// The failure to show.
    pub failure: Option<RankFailure>,
    /// A person or a scheduler asked for the end.
    pub interrupted: bool,
}

/// Why a rank could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankFailure {
    /// The rank.
    pub rank: usize,
    /// Whose fault it is.
    pub kind: FailureKind,
    /// One sentence, or the last lines of the rank's log where it left none.
    pub message: String,
}

/// The ranks and what is known of them.
pub(super) struct Supervisor<P> {
    slots: Vec<RankSlot<P>>,
    timeouts: Timeouts,
    phase: Phase,
    failures: Vec<RankFailure>,
    ending: Ending,
}

struct RankSlot<P> {
    process: P,
    alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Closing { until: Instant },
    Gathering { until: Instant },
    Stopping { until: Instant },
    Killing,
}

/// Stands over the ranks until the last has ended; the observer sees every event.
pub(super) fn supervise<P: Process>(
    mut supervisor: Supervisor<P>,
    process_event: &Receiver<(usize, ProcessEvent)>,
    signals: &Receiver<()>,
    observer: &mut dyn FnMut(&RankEvent),
) -> Ending {
    while !supervisor.done() {
        let deadline = supervisor.deadline().map_or_else(never, at);
        select! {
            recv(process_event) -> message => {
                let (rank, process_event) = message.expect("a rank's thread sends until it is gone");
                if let ProcessEvent::Event(event) = &process_event {
                    observer(event);
                }
                supervisor.hear(rank, process_event, Instant::now());
            }
            recv(signals) -> message => {
                message.expect("the listener outlives the run");
                supervisor.interrupt(Instant::now());
            }
            recv(deadline) -> _ => supervisor.time_passed(Instant::now()),
        }
    }
    supervisor.into_ending()
}

impl<P: Process> Supervisor<P> {
    /// A supervisor over processes that have just been started, rank 0 first.
    pub(super) fn new(processes: Vec<P>, timeouts: Timeouts) -> Self {
        Self {
            slots: processes.into_iter().map(|process| RankSlot { process, alive: true }).collect(),
            timeouts,
            phase: Phase::Running,
            failures: Vec::new(),
            ending: Ending::default(),
        }
    }

    /// All ranks have ended.
    fn done(&self) -> bool {
        self.slots.iter().all(|slot| !slot.alive)
    }

    /// When [`Self::time_passed`] wants to be called.
    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closing { until } | Phase::Gathering { until } | Phase::Stopping { until } => {
                Some(until)
            }
            Phase::Running | Phase::Killing => None,
        }
    }

    fn hear(&mut self, rank: usize, process_event: ProcessEvent, now: Instant) {
        match process_event {
            ProcessEvent::Event(RankEvent::RunStop { status, .. }) => {
                self.ending.status = Some(status);
                if self.phase == Phase::Running {
                    self.phase = Phase::Closing { until: now + self.timeouts.closing };
                }
            }
            ProcessEvent::Event(RankEvent::Failed { kind, message, .. }) => {
                self.fail(RankFailure { rank, kind, message }, now);
            }
            ProcessEvent::Event(_) => {}
            ProcessEvent::Gone(exit_status) => {
                self.slots[rank].alive = false;
                self.classify_exit(rank, exit_status, now);
            }
        }
    }

    fn time_passed(&mut self, now: Instant) {
        match self.phase {
            Phase::Closing { until } if now >= until => self.give_up_on_the_living(now),
            Phase::Gathering { until } if now >= until => self.stop(now, self.timeouts.grace),
            Phase::Stopping { until } if now >= until => self.kill(),
            _ => {}
        }
    }

    /// A signal to the launcher: the first is passed on, the next ends all at once.
    fn interrupt(&mut self, now: Instant) {
        match self.phase {
            Phase::Running | Phase::Closing { .. } => {
                self.ending.interrupted = true;
                self.stop(now, self.timeouts.interrupt_grace);
            }
            Phase::Gathering { .. } => self.stop(now, self.timeouts.grace),
            Phase::Stopping { .. } | Phase::Killing => self.kill(),
        }
    }

    /// A rank that goes before it was asked to needs a reason: it reported one, somebody else asked
    /// it, or the run is over, which rank 0 says before it goes and the others need not.
    fn classify_exit(&mut self, rank: usize, exit_status: ExitStatus, now: Instant) {
        let asked = matches!(self.phase, Phase::Stopping { .. } | Phase::Killing);
        let reported = self.failures.iter().any(|failure| failure.rank == rank);
        if asked || reported {
            return;
        }
        match exit_status {
            ExitStatus::Code(DONE) if rank != 0 || self.ending.status.is_some() => {
                return;
            }
            ExitStatus::Code(ASKED_TO_STOP) => return self.interrupt(now),
            _ => {}
        }
        let how = match exit_status {
            ExitStatus::Code(code) => format!("ended with code {code} and without a word"),
            ExitStatus::Signal(number) => format!("killed by signal {number}{}", hint(number)),
        };
        let message = match self.slots[rank].process.log_tail() {
            words if words.is_empty() => how,
            words => format!("{how}; the last lines of its log are:\n{words}"),
        };
        self.fail(RankFailure { rank, kind: FailureKind::Internal, message }, now);
    }

    fn fail(&mut self, failure: RankFailure, now: Instant) {
        self.failures.push(failure);
        if matches!(self.phase, Phase::Running | Phase::Closing { .. }) {
            self.phase = Phase::Gathering { until: now + self.timeouts.gather };
        }
    }

    /// The run is over and some ranks are not.
    fn give_up_on_the_living(&mut self, now: Instant) {
        let rank = self.slots.iter().position(|slot| slot.alive).expect("else all would be done");
        let message = format!(
            "has not ended {} s after run_stop and is ended by force; the result counts, and \
             rank-{rank}.log may tell what it waited for",
            self.timeouts.closing.as_secs()
        );
        self.failures.push(RankFailure { rank, kind: FailureKind::Internal, message });
        self.stop(now, self.timeouts.grace);
    }

    /// Sends SIGTERM. A cause that is known by now is the one to show: what ranks say from here
    /// on may be due to the signal. When only victims have spoken, later words still count.
    fn stop(&mut self, now: Instant, timeouts: Duration) {
        self.ending.failure = self.gravest().filter(|failure| failure.kind < FailureKind::Peer);
        self.each_living(Process::terminate);
        self.phase = Phase::Stopping { until: now + timeouts };
    }

    fn kill(&mut self) {
        self.each_living(Process::kill);
        self.phase = Phase::Killing;
    }

    fn each_living(&mut self, act: impl Fn(&mut P)) {
        self.slots.iter_mut().filter(|slot| slot.alive).for_each(|slot| act(&mut slot.process));
    }

    /// The first of the gravest failures so far.
    fn gravest(&self) -> Option<RankFailure> {
        self.failures.iter().min_by_key(|failure| failure.kind).cloned()
    }

    fn into_ending(self) -> Ending {
        let failure = match &self.ending {
            Ending { failure: Some(failure), .. } => Some(failure.clone()),
            Ending { interrupted: true, .. } => None,
            _ => self.gravest(),
        };
        Ending { failure, ..self.ending }
    }
}

/// What the commonest signals mean to a person.
fn hint(signal: i32) -> &'static str {
    match signal {
        6 => " (it gave up on itself)",
        9 => " (somebody killed it, or memory ran out)",
        11 => " (a bad memory access)",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
