//! Tests the supervisor with mock processes, at times that the tests choose.

use std::{cell::RefCell, rc::Rc};

use super::*;
use crate::events::Spent;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Term(usize),
    Kill(usize),
}

struct Mock {
    rank: usize,
    sent: Rc<RefCell<Vec<Sent>>>,
}

impl Process for Mock {
    fn terminate(&mut self) {
        self.sent.borrow_mut().push(Sent::Term(self.rank));
    }

    fn kill(&mut self) {
        self.sent.borrow_mut().push(Sent::Kill(self.rank));
    }

    fn state(&self) -> Option<char> {
        // Of rank 3, as if it had been sent SIGSTOP.
        Some(if self.rank == 3 { 'T' } else { 'S' })
    }

    fn log_tail(&self) -> String {
        format!("  log of {}", self.rank)
    }

    fn host(&self) -> Option<&str> {
        (self.rank == 2).then_some("other")
    }
}

/// Supervised ranks, the signals they got, and a clock in milliseconds.
struct Stage {
    supervisor: Supervisor<Mock>,
    sent: Rc<RefCell<Vec<Sent>>>,
    start: Instant,
}

impl Stage {
    fn with_ranks(num_ranks: usize) -> Self {
        let sent = Rc::default();
        let mocks = (0..num_ranks).map(|rank| Mock { rank, sent: Rc::clone(&sent) }).collect();
        let start = Instant::now();
        let timeouts = Timeouts::of(&WatchConfig::default());
        Self { supervisor: Supervisor::new(mocks, timeouts, (Path::new("/"), start)), sent, start }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn hears(&mut self, ms: u64, rank: usize, process_event: ProcessEvent) {
        self.supervisor.hear(rank, process_event, self.at(ms));
    }

    fn time_passes(&mut self, ms: u64) {
        self.supervisor.time_passed(self.at(ms));
    }

    fn sent(&self) -> Vec<Sent> {
        self.sent.borrow().clone()
    }

    fn ending(self) -> Ending {
        assert!(self.supervisor.done(), "a rank is still alive");
        self.supervisor.into_ending()
    }
}

fn failed(kind: FailureKind, message: &str) -> ProcessEvent {
    ProcessEvent::Event(RankEvent::Failed { rank: 0, kind, message: message.to_owned() })
}

fn run_stop(status: RunStatus) -> ProcessEvent {
    ProcessEvent::Event(RankEvent::RunStop {
        status,
        epoch: 3,
        accuracy: Some(0.8),
        minutes: 1.0,
        images_per_s: 100.0,
        data_wait: 0.0,
        io_wait: 0.0,
        data_verdict: None,
        time: Spent::default(),
    })
}

fn gone(code: i32) -> ProcessEvent {
    ProcessEvent::Gone(ExitStatus::Code(code))
}

#[test]
fn a_run_that_ends_normally_needs_no_signal() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 1, gone(0));
    stage.hears(1, 0, run_stop(RunStatus::Success));
    assert!(!stage.supervisor.done());
    stage.hears(2, 0, gone(0));
    assert_eq!(stage.sent(), []);
    let status = Some(RunStatus::Success);
    assert_eq!(stage.ending(), Ending { status, failure: None, interrupted: false });
}

#[test]
fn a_failure_stops_the_others_after_gathering_and_kills_them_after_the_grace() {
    let mut stage = Stage::with_ranks(3);
    stage.hears(1000, 1, failed(FailureKind::Internal, "no memory"));
    stage.hears(1001, 1, gone(1));
    assert_eq!(stage.supervisor.deadline(), Some(stage.at(1300)));
    stage.time_passes(1299);
    assert_eq!(stage.sent(), []);
    stage.time_passes(1300);
    assert_eq!(stage.sent(), [Sent::Term(0), Sent::Term(2)]);
    stage.hears(1310, 0, gone(0));
    assert_eq!(stage.supervisor.deadline(), Some(stage.at(4300)));
    stage.time_passes(4300);
    assert_eq!(stage.sent()[2..], [Sent::Kill(2)]);
    stage.hears(4301, 2, ProcessEvent::Gone(ExitStatus::Signal(9)));
    let failure = stage.ending().failure.unwrap();
    assert_eq!((failure.rank, failure.message.as_str()), (1, "no memory"));
}

#[test]
fn the_cause_is_shown_and_not_the_peer_that_reported_first() {
    let mut stage = Stage::with_ranks(3);
    stage.hears(0, 0, failed(FailureKind::Peer, "rank 2 went away"));
    stage.hears(50, 1, failed(FailureKind::Internal, "first cause"));
    stage.hears(60, 2, failed(FailureKind::Internal, "second cause"));
    (0..3).for_each(|rank| stage.hears(70, rank, gone(1)));
    assert_eq!(stage.ending().failure.unwrap().message, "first cause");
}

#[test]
fn bad_input_takes_precedence_over_other_failures() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 0, failed(FailureKind::Internal, "broke"));
    stage.hears(1, 1, failed(FailureKind::Input, "no such file"));
    stage.time_passes(300);
    (0..2).for_each(|rank| stage.hears(301, rank, gone(1)));
    assert_eq!(stage.ending().failure.unwrap().kind, FailureKind::Input);
}

#[test]
fn failures_after_sigterm_do_not_replace_a_known_cause() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 0, failed(FailureKind::Internal, "cause"));
    stage.time_passes(300);
    stage.hears(310, 1, failed(FailureKind::Input, "due to the signal"));
    (0..2).for_each(|rank| stage.hears(320, rank, gone(1)));
    assert_eq!(stage.ending().failure.unwrap().message, "cause");
}

#[test]
fn a_late_cause_replaces_a_peers_failure() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 0, failed(FailureKind::Peer, "rank 1 went away"));
    stage.time_passes(300);
    stage.hears(310, 1, failed(FailureKind::Internal, "cause"));
    (0..2).for_each(|rank| stage.hears(320, rank, gone(1)));
    assert_eq!(stage.ending().failure.unwrap().message, "cause");
}

#[test]
fn a_rank_killed_by_a_signal_is_reported_with_the_last_lines_of_its_log() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 1, ProcessEvent::Gone(ExitStatus::Signal(9)));
    stage.time_passes(300);
    stage.hears(301, 0, gone(1));
    let failure = stage.ending().failure.unwrap();
    assert_eq!((failure.rank, failure.kind), (1, FailureKind::Internal));
    assert!(failure.message.starts_with("killed by signal 9 (it was killed"));
    assert!(failure.message.ends_with("; the last lines of its log are:\n  log of 1"));
}

#[test]
fn a_rank_0_that_ends_before_run_stop_has_failed() {
    let mut stage = Stage::with_ranks(1);
    stage.hears(0, 0, gone(0));
    let failure = stage.ending().failure.unwrap();
    assert!(failure.message.starts_with("ended with code 0 and without a message"));
}

#[test]
fn a_crash_after_run_stop_is_a_failure_and_the_result_is_kept() {
    let mut stage = Stage::with_ranks(1);
    stage.hears(0, 0, run_stop(RunStatus::Success));
    stage.hears(1, 0, ProcessEvent::Gone(ExitStatus::Signal(11)));
    let ending = stage.ending();
    assert_eq!(ending.status, Some(RunStatus::Success));
    assert_eq!(ending.failure.unwrap().kind, FailureKind::Internal);
}

#[test]
fn a_rank_that_hangs_after_run_stop_is_killed_and_the_result_is_kept() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 0, run_stop(RunStatus::Success));
    stage.hears(10, 0, gone(0));
    stage.time_passes(119_999);
    assert_eq!(stage.sent(), []);
    stage.time_passes(120_001);
    assert_eq!(stage.sent(), [Sent::Term(1)]);
    stage.time_passes(124_000);
    assert_eq!(stage.sent(), [Sent::Term(1), Sent::Kill(1)]);
    stage.hears(124_001, 1, ProcessEvent::Gone(ExitStatus::Signal(9)));
    let ending = stage.ending();
    assert_eq!(ending.status, Some(RunStatus::Success));
    let failure = ending.failure.expect("it is reported");
    assert!(failure.rank == 1 && failure.message.contains("run_stop"), "{failure:?}");
}

#[test]
fn the_first_signal_asks_and_the_second_kills() {
    let mut stage = Stage::with_ranks(2);
    stage.supervisor.interrupt(stage.at(0));
    assert_eq!(stage.sent(), [Sent::Term(0), Sent::Term(1)]);
    assert_eq!(stage.supervisor.deadline(), Some(stage.at(30_000)));
    stage.supervisor.interrupt(stage.at(10));
    assert_eq!(stage.sent()[2..], [Sent::Kill(0), Sent::Kill(1)]);
    (0..2).for_each(|rank| stage.hears(20, rank, ProcessEvent::Gone(ExitStatus::Signal(9))));
    assert_eq!(stage.ending(), Ending { status: None, failure: None, interrupted: true });
}

#[test]
fn a_signal_to_a_rank_or_to_another_machine_first_does_not_make_the_next_one_kill() {
    for first in [gone(7), ProcessEvent::Interrupted] {
        let mut stage = Stage::with_ranks(2);
        stage.hears(0, 1, first);
        let terms = stage.sent();
        assert!(terms.contains(&Sent::Term(0)), "{terms:?}");
        stage.supervisor.interrupt(stage.at(5));
        assert_eq!(stage.sent(), terms, "the launcher's own first signal says the same");
        stage.hears(6, 1, ProcessEvent::Interrupted);
        assert_eq!(stage.sent(), terms);
        stage.supervisor.interrupt(stage.at(10));
        assert!(stage.sent().contains(&Sent::Kill(0)), "the second one kills");
    }
}

#[test]
fn ranks_that_obey_a_signal_end_an_interrupted_run_without_a_failure() {
    let mut stage = Stage::with_ranks(2);
    stage.supervisor.interrupt(stage.at(0));
    stage.hears(5, 0, run_stop(RunStatus::Aborted));
    stage.hears(6, 1, failed(FailureKind::Interrupted, "asked to stop"));
    (0..2).for_each(|rank| stage.hears(7, rank, gone(7)));
    let status = Some(RunStatus::Aborted);
    assert_eq!(stage.ending(), Ending { status, failure: None, interrupted: true });
}

#[test]
fn ranks_that_miss_the_target_have_not_failed() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 1, gone(0));
    stage.hears(1, 0, run_stop(RunStatus::Aborted));
    stage.hears(2, 0, gone(0));
    let status = Some(RunStatus::Aborted);
    assert_eq!(stage.ending(), Ending { status, failure: None, interrupted: false });
}

#[test]
fn a_rank_that_somebody_else_asked_to_stop_interrupts_the_run() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 1, gone(7));
    assert_eq!(stage.sent(), [Sent::Term(0)]);
    stage.hears(1, 0, run_stop(RunStatus::Aborted));
    stage.hears(2, 0, gone(7));
    assert!(stage.ending().interrupted);
}

#[test]
fn a_signal_cuts_the_gathering_short_and_the_failure_stays() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 1, failed(FailureKind::Input, "bad image"));
    stage.supervisor.interrupt(stage.at(100));
    assert_eq!(stage.sent(), [Sent::Term(0), Sent::Term(1)]);
    (0..2).for_each(|rank| stage.hears(110, rank, gone(1)));
    let ending = stage.ending();
    assert!(!ending.interrupted);
    assert_eq!(ending.failure.unwrap().message, "bad image");
}

#[test]
fn the_loop_drains_its_channels_and_shows_every_event() {
    let (send_event, process_event) = crossbeam_channel::unbounded();
    let (_send_signal, signals) = crossbeam_channel::unbounded();
    send_event.send((0, run_stop(RunStatus::Success))).unwrap();
    send_event.send((0, gone(0))).unwrap();
    let mut seen = 0;
    let supervisor = Stage::with_ranks(1).supervisor;
    let ending = supervise(supervisor, &process_event, &signals, &mut |_| seen += 1);
    assert_eq!((ending.status, seen), (Some(RunStatus::Success), 1));
}

#[test]
fn a_stopped_rank_ends_the_run_and_is_named() {
    let mut stage = Stage::with_ranks(4);
    for ms in [1_000, 3_000, 5_000, 5_900] {
        stage.supervisor.watch(stage.at(ms));
    }
    assert_eq!(stage.supervisor.phase, Phase::Running);
    stage.supervisor.watch(stage.at(6_000));
    // Its victims report that they have lost a peer, or end.
    stage.hears(6_100, 0, failed(FailureKind::Peer, "connection closed"));
    stage.time_passes(6_300);
    assert_eq!(stage.sent(), (0..4).map(Sent::Term).collect::<Vec<_>>());
    (0..3).for_each(|rank| stage.hears(7_000, rank, gone(7)));
    stage.time_passes(9_300);
    assert_eq!(stage.sent()[4..], [Sent::Kill(3)], "a stopped process does not see SIGTERM");
    stage.hears(9_400, 3, ProcessEvent::Gone(ExitStatus::Signal(9)));
    let failure = stage.ending().failure.unwrap();
    assert_eq!(failure.rank, 3);
    assert!(failure.message.starts_with("has been stopped for 5 s"), "{}", failure.message);
}

#[test]
fn a_rank_that_dies_of_sigterm_was_asked_to_stop() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 1, ProcessEvent::Gone(ExitStatus::Signal(15)));
    stage.hears(100, 0, gone(7));
    let ending = stage.ending();
    assert!(ending.interrupted && ending.failure.is_none(), "{ending:?}");
}

#[test]
fn a_rank_that_is_asked_to_stop_is_no_failure_of_those_that_lose_it() {
    let mut stage = Stage::with_ranks(2);
    stage.hears(0, 1, failed(FailureKind::Peer, "connection closed"));
    stage.hears(100, 0, gone(7));
    stage.hears(200, 1, gone(6));
    let ending = stage.ending();
    assert!(ending.interrupted && ending.failure.is_none(), "{ending:?}");
}

#[test]
fn a_launcher_that_was_stopped_itself_blames_nobody() {
    let mut stage = Stage::with_ranks(4);
    for ms in [1_000, 2_000, 900_000] {
        stage.supervisor.watch(stage.at(ms));
    }
    assert_eq!(stage.supervisor.phase, Phase::Running);
    for ms in [901_000, 903_000, 905_000] {
        stage.supervisor.watch(stage.at(ms));
    }
    assert_ne!(stage.supervisor.phase, Phase::Running, "rank 3 is still stopped");
}
