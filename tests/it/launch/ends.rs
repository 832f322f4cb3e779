//! How runs end: with the target, without it, with a failure, with a signal.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::stage::{GOOD, Stage, Told, wait_for};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_run_that_reaches_the_target_ends_with_0() {
    let stage = Stage::with_ranks(GOOD);
    let told = stage.train(&[]);
    told.expect(0, &["target reached after 1.25 minutes"]);
}

#[test]
fn a_run_that_misses_the_target_ends_with_5() {
    let script = r#"[ "$RANK" = 0 ] && run_start && run_stop aborted; exit 0"#;
    let told = Stage::with_ranks(script).train(&[]);
    told.expect(5, &["target not reached"]);
    assert!(told.stdout.contains("not reached"), "{told:#?}");
}

#[test]
fn a_rank_that_fails_ends_the_run_with_6_and_its_message() {
    let script = r#"[ "$RANK" = 1 ] && failed internal "the weights are no numbers" && exit 1
                    exec sleep 600"#;
    let stage = Stage::with_ranks(script);
    stage.train(&[]).expect(6, &["error: results/box/run_0: rank 1: the weights are no numbers"]);
    assert!(stage.is_gone("results/box/run_0/pid-0"), "rank 0 outlived the run");
    assert!(!stage.path("results/box/resnet/result_0.txt").exists());
}

#[test]
fn a_rank_with_bad_input_ends_the_run_with_3() {
    let script = r#"failed input "bad image x.JPEG"; exit 3"#;
    Stage::with_ranks(script).train(&[]).expect(3, &["bad image x.JPEG"]);
}

#[test]
fn the_cause_is_shown_although_a_victim_spoke_first() {
    let script = r#"
        if [ "$RANK" = 0 ]; then failed peer "rank 1 went away"; exit 6; fi
        while ! [ -e "$run_dir/pid-0" ]; do sleep 0.01; done
        sleep 0.05; failed internal "the cause"; exit 6"#;
    let told = Stage::with_ranks(script).train(&[]);
    told.expect(6, &["rank 1: the cause"]);
    assert!(!told.stderr.contains("went away"), "{told:#?}");
}

#[test]
fn a_rank_that_does_not_obey_is_killed() {
    let script = r#"[ "$RANK" = 1 ] && failed internal "broke" && exit 1
                    trap '' TERM; while :; do sleep 600; done"#;
    let stage = Stage::with_ranks(script);
    stage.train(&[]).expect(6, &["broke"]);
    assert!(stage.is_gone("results/box/run_0/pid-0"), "rank 0 outlived the run");
}

#[test]
fn a_rank_killed_by_a_signal_leaves_its_log_tail() {
    let script = r#"[ "$RANK" = 0 ] && exec sleep 600
                    echo "on its stderr" >&2; echo "on its stdout"; kill -9 $$"#;
    let stage = Stage::with_ranks(script);
    let words = ["rank 1: killed by signal 9", "\n  on its stderr", "\n  on its stdout"];
    stage.train(&[]).expect(6, &words);
    assert!(stage.read("results/box/run_0/rank-1.log").contains("on its stdout"));
}

#[test]
fn a_rank_that_goes_without_a_word_has_failed() {
    Stage::with_ranks("exit 0").train(&[]).expect(6, &["rank 0: ended with code 0 and without"]);
    let told = Stage::with_ranks("exit 77").train(&[]);
    told.expect(6, &["ended with code 77 and without a message"]);
}

/// Ranks that run until they are asked to stop, as real ones do.
const OBEDIENT: &str = r#"
trap '[ "$RANK" = 0 ] && run_stop aborted; exit 7' TERM
[ "$RANK" = 0 ] && run_start
echo ready > "$STAGE/ready-$RANK"
while :; do sleep 0.01; done
"#;

#[test]
fn sigint_and_sigterm_end_in_run_stop_and_7() {
    for asked in [Signal::INT, Signal::TERM] {
        let stage = Stage::with_ranks(OBEDIENT);
        let child = stage.train_until("ready-0");
        wait_for(&stage.path("ready-1"));
        signal(&child, asked);
        let told = Told::by(child);
        told.expect(7, &["target not reached", "interrupted"]);
        assert!(told.stdout.contains("results/box/resnet/result_0.txt"), "{told:#?}");
        assert!(stage.read("results/box/resnet/result_0.txt").contains("log of"));
        assert!(stage.is_gone("results/box/run_0/pid-1"), "rank 1 outlived the run");
    }
}

#[test]
fn an_interruption_ends_a_series() {
    let stage = Stage::with_ranks(OBEDIENT);
    let child = stage.training(&["--runs", "3"]).spawn().unwrap();
    wait_for(&stage.path("ready-0"));
    wait_for(&stage.path("ready-1"));
    signal(&child, Signal::INT);
    Told::by(child).expect(7, &[]);
    assert!(!stage.path("results/box/run_1").exists(), "an unused place was left behind");
}

#[test]
fn a_second_signal_kills() {
    let script = r#"trap 'echo asked > "$STAGE/asked-$RANK"' TERM
                    echo ready > "$STAGE/ready-$RANK"; while :; do sleep 0.01; done"#;
    let stage = Stage::with_ranks(script);
    let child = stage.train_until("ready-0");
    wait_for(&stage.path("ready-1"));
    signal(&child, Signal::TERM);
    wait_for(&stage.path("asked-0"));
    signal(&child, Signal::TERM);
    let told = Told::by(child);
    told.expect(7, &[]);
    assert_eq!(told.stdout, "", "a run that never started has no figures");
    assert!(stage.is_gone("results/box/run_0/pid-0"), "rank 0 outlived the run");
}

#[test]
fn a_rank_that_somebody_asks_to_stop_interrupts_the_run() {
    let stage = Stage::with_ranks(OBEDIENT);
    let child = stage.train_until("ready-0");
    wait_for(&stage.path("ready-1"));
    let rank = stage.read("results/box/run_0/pid-1").trim().parse().unwrap();
    kill_process(Pid::from_raw(rank).unwrap(), Signal::TERM).unwrap();
    Told::by(child).expect(7, &[]);
    assert!(stage.is_gone("results/box/run_0/pid-0"), "rank 0 outlived the run");
}

#[test]
fn a_failure_ends_a_series_and_what_was_measured_is_shown() {
    let script = r#"
        case "$run_dir" in *run_1) failed internal "broke"; exit 6;; esac
        [ "$RANK" = 0 ] && run_start && run_stop success
        exit 0"#;
    let stage = Stage::with_ranks(script);
    let told = stage.train(&["--runs", "3"]);
    told.expect(6, &["results/box/run_1: rank", "broke"]);
    assert_eq!(told.stdout.lines().count(), 3, "{told:#?}");
    assert!(!stage.path("results/box/run_2").exists());
}
