//! The supervisor: reacts to a rank's events, end or silence.
//!
//! It is a state machine without a clock, so that tests can choose the times: `Running` ->
//! `Closing` (`run_stop` has been logged; ranks write weights and release devices) or `Gathering`
//! (a rank failed; others may report the cause) -> `Stopping` (SIGTERM was sent) -> `Killing`
//! (SIGKILL was sent). It is done when every rank has ended.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, at, never, select, tick};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

pub(super) use process::{ExitStatus, Process, ProcessEvent};

use super::watch::{Vitals, WatchTimeouts, hung_rank};
use crate::{
    events::{FailureKind, RankEvent},
    mlperf::RunStatus,
    recipe::WatchConfig,
};

mod process;

/// The duration of each phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// From the first failure to SIGTERM, so that other ranks can report the cause.
    pub(super) gather: Duration,
    /// From SIGTERM to SIGKILL after a failure.
    pub(super) grace: Duration,
    /// From `run_stop` to SIGTERM, for writing weights and releasing devices and peers. Some
    /// drivers have been known to hang there.
    pub(super) closing: Duration,
    /// From SIGTERM to SIGKILL if the user stopped the run, for ending the step and the log.
    pub(super) interrupt_grace: Duration,
    /// For ranks that hang.
    pub(super) watch: WatchTimeouts,
}

impl Timeouts {
    /// Those of a recipe, and the constants.
    pub(super) fn of(watch: &WatchConfig) -> Self {
        Self {
            gather: Duration::from_millis(300),
            grace: Duration::from_secs(3),
            closing: Duration::from_secs(120),
            interrupt_grace: Duration::from_secs(30),
            watch: WatchTimeouts {
                stopped: Duration::from_secs(watch.stopped_timeout_s),
                stall: Duration::from_secs(watch.stall_timeout_s),
                start: Duration::from_secs(watch.start_timeout_s),
            },
        }
    }
}

/// The launcher looks at its ranks every second, unless it was stopped.
const ABSENCE: Duration = Duration::from_secs(5);

/// The exit codes of a rank that ended normally: done, or asked to stop. The command line uses the
/// same codes.
const DONE: i32 = 0;
const ASKED_TO_STOP: i32 = 7;

/// How a run ended, according to its processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The status of `run_stop`; `None` if the run did not get there.
    pub status: Option<RunStatus>,
    /// The failure to show.
    pub failure: Option<RankFailure>,
    /// Whether a user or a scheduler interrupted the run.
    pub interrupted: bool,
}

/// Why a rank failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankFailure {
    /// The rank.
    pub rank: usize,
    /// Its host, if it is another one.
    pub host: Option<String>,
    /// The kind of failure.
    pub kind: FailureKind,
    /// One sentence, or the last lines of the rank's log if the rank reported nothing.
    pub message: String,
}

/// The ranks and their state.
pub(super) struct Supervisor<P> {
    slots: Vec<RankSlot<P>>,
    timeouts: Timeouts,
    phase: Phase,
    failures: Vec<RankFailure>,
    ending: Ending,
    /// The folder of the run; without it, nothing that the ranks do is kept.
    run_dir: PathBuf,
    last_watch: Instant,
    /// Whether the launcher itself has got a signal.
    is_signalled: bool,
}

struct RankSlot<P> {
    process: P,
    alive: bool,
    vitals: Vitals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Closing { until: Instant },
    Gathering { until: Instant },
    Stopping { until: Instant },
    Killing,
}

/// Supervises the ranks until the last one has ended. The observer gets every event.
pub(super) fn supervise<P: Process>(
    mut supervisor: Supervisor<P>,
    process_event: &Receiver<(usize, ProcessEvent)>,
    signals: &Receiver<()>,
    observer: &mut dyn FnMut(&RankEvent),
) -> Ending {
    let ticks = tick(Duration::from_secs(1));
    while !supervisor.done() {
        let deadline = supervisor.deadline().map_or_else(never, at);
        select! {
            recv(process_event) -> message => {
                let (rank, process_event) = message.expect("a rank's thread sends until its end");
                match &process_event {
                    ProcessEvent::Event(RankEvent::Alive { .. })
                    | ProcessEvent::Gone(_)
                    | ProcessEvent::Interrupted => {}
                    ProcessEvent::Event(event) => observer(event),
                }
                supervisor.hear(rank, process_event, Instant::now());
            }
            recv(signals) -> message => {
                message.expect("the listener outlives the run");
                supervisor.interrupt(Instant::now());
            }
            recv(deadline) -> _ => supervisor.time_passed(Instant::now()),
            recv(ticks) -> _ => supervisor.watch(Instant::now()),
        }
    }
    supervisor.into_ending()
}

impl<P: Process> Supervisor<P> {
    /// A supervisor of processes that have just been started, rank 0 first.
    pub(super) fn new(
        processes: Vec<P>,
        timeouts: Timeouts,
        (run_dir, now): (&Path, Instant),
    ) -> Self {
        let slot = |process| RankSlot { process, alive: true, vitals: Vitals::new(now) };
        Self {
            slots: processes.into_iter().map(slot).collect(),
            timeouts,
            phase: Phase::Running,
            failures: Vec::new(),
            ending: Ending::default(),
            run_dir: run_dir.to_owned(),
            last_watch: now,
            is_signalled: false,
        }
    }

    /// Whether all ranks have ended.
    fn done(&self) -> bool {
        self.slots.iter().all(|slot| !slot.alive)
    }

    /// Whether nothing has gone wrong and nobody has interrupted it.
    fn runs(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Closing { .. })
    }

    /// When to call [`Self::time_passed`].
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
                self.fail((rank, kind, message), now);
            }
            ProcessEvent::Event(RankEvent::Alive { activity, num_steps, .. }) => {
                self.slots[rank].vitals.hear((activity, num_steps), now);
            }
            ProcessEvent::Event(_) => {}
            // A host that is lost after its ranks have ended says so again.
            ProcessEvent::Gone(_) if !self.slots[rank].alive => {}
            ProcessEvent::Gone(exit_status) => {
                self.slots[rank].alive = false;
                self.classify_exit(rank, exit_status, now);
            }
            ProcessEvent::Interrupted => self.interrupted(now),
        }
    }

    /// Looks for a rank that hangs, while the run should go on.
    fn watch(&mut self, now: Instant) {
        let last = std::mem::replace(&mut self.last_watch, now);
        if self.phase != Phase::Running {
            return;
        }
        // The launcher itself was stopped, and perhaps all ranks with it.
        if now - last > ABSENCE {
            self.slots.iter_mut().for_each(|slot| slot.vitals = Vitals::new(now));
        }
        if !self.run_dir.is_dir() {
            let path = self.run_dir.display();
            let message = format!("its folder {path} was removed; keep it until the run ends");
            return self.fail((0, FailureKind::Input, message), now);
        }
        let slots = self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.alive);
        let living: Vec<_> = slots
            .map(|(rank, slot)| {
                slot.vitals.see(slot.process.state(), now);
                (rank, slot.vitals)
            })
            .collect();
        if let Some((rank, message)) = hung_rank(&living, &self.timeouts.watch, now) {
            self.fail((rank, FailureKind::Internal, message), now);
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

    /// Handles a signal to the launcher: the first one is passed on to the ranks, the second one
    /// kills them.
    fn interrupt(&mut self, now: Instant) {
        let is_first = !std::mem::replace(&mut self.is_signalled, true);
        match self.phase {
            // A scheduler signals ranks and the launchers of all machines, in any order.
            Phase::Stopping { .. } if is_first && self.ending.interrupted => {}
            Phase::Stopping { .. } | Phase::Killing => self.kill(),
            _ => self.interrupted(now),
        }
    }

    /// Stops the run for a signal, whoever got it.
    fn interrupted(&mut self, now: Instant) {
        match self.phase {
            Phase::Running | Phase::Closing { .. } => {
                self.ending.interrupted = true;
                self.stop(now, self.timeouts.interrupt_grace);
            }
            Phase::Gathering { .. } => self.stop(now, self.timeouts.grace),
            Phase::Stopping { .. } | Phase::Killing => {}
        }
    }

    /// Decides whether a rank's end is a failure. It is not if the rank reported one already, if
    /// somebody asked it to stop, or if the run is over. (Rank 0 reports the end of the run before
    /// it ends; the others need not.)
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
            // Before it catches signals, a rank dies of the one that asks it to stop.
            ExitStatus::Code(ASKED_TO_STOP) | ExitStatus::Signal(SIGHUP | SIGINT | SIGTERM) => {
                // Ranks that lost it may have reported that before it ended.
                let only_peers = |failure: &RankFailure| failure.kind == FailureKind::Peer;
                self.ending.interrupted |= self.failures.iter().all(only_peers);
                return self.interrupted(now);
            }
            _ => {}
        }
        let how = match exit_status {
            ExitStatus::Code(code) => format!("ended with code {code} and without a message"),
            ExitStatus::Signal(number) => format!("killed by signal {number}{}", hint(number)),
            ExitStatus::Lost => {
                "its launcher has ended, or its host or the network is down".to_owned()
            }
        };
        let message = match self.slots[rank].process.log_tail() {
            log if log.is_empty() => how,
            log => format!("{how}; the last lines of its log are:\n{log}"),
        };
        self.fail((rank, FailureKind::Internal, message), now);
    }

    fn fail(&mut self, failure: (usize, FailureKind, String), now: Instant) {
        self.note(failure);
        if self.runs() {
            self.phase = Phase::Gathering { until: now + self.timeouts.gather };
        }
    }

    fn note(&mut self, (rank, kind, message): (usize, FailureKind, String)) {
        let host = self.slots[rank].process.host().map(str::to_owned);
        self.failures.push(RankFailure { rank, host, kind, message });
    }

    /// The run is over, but some ranks have not ended.
    fn give_up_on_the_living(&mut self, now: Instant) {
        let rank = self.slots.iter().position(|slot| slot.alive).expect("not all ranks have ended");
        let message = format!(
            "has not ended {} s after run_stop and is killed; the result counts, and \
             rank-{rank}.log may show what it waited for",
            self.timeouts.closing.as_secs()
        );
        self.note((rank, FailureKind::Internal, message));
        self.stop(now, self.timeouts.grace);
    }

    /// Sends SIGTERM. The cause known so far is the one to show, because later failures may be due
    /// to the signal. Later failures count only if all known ones are of peers that lost their
    /// connection.
    fn stop(&mut self, now: Instant, timeouts: Duration) {
        self.ending.failure =
            self.most_serious().filter(|failure| failure.kind < FailureKind::Peer);
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

    /// The first of the most serious failures so far.
    fn most_serious(&self) -> Option<RankFailure> {
        self.failures.iter().min_by_key(|failure| failure.kind).cloned()
    }

    fn into_ending(self) -> Ending {
        let failure = match &self.ending {
            Ending { failure: Some(failure), .. } => Some(failure.clone()),
            Ending { interrupted: true, .. } => None,
            _ => self.most_serious(),
        };
        Ending { failure, ..self.ending }
    }
}

/// An explanation of the most common signals.
fn hint(signal: i32) -> &'static str {
    match signal {
        6 => " (it aborted)",
        9 => " (it was killed, or memory ran out)",
        11 => " (invalid memory access)",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
