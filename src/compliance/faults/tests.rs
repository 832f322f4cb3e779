//! Logs with one of our own findings each.

use super::super::parse::Log;
use super::super::rules::Catalogue;
use super::super::ruleset::Ruleset;
use super::*;

const OPEN: &str = include_str!("../../../tests/logs/ok_open.txt");
const CLOSED: &str = include_str!("../../../tests/logs/ok_closed_lars.txt");

fn findings(log: &str) -> Vec<(&'static str, Option<usize>, String)> {
    let mut checks = OwnChecks::default();
    for record in &Log::parse(log.as_bytes()).records {
        checks.read(Key::named(&record.key), record);
    }
    let target = Catalogue::of(Ruleset::V4_0_0).target("resnet");
    let mut found = checks.finish("resnet", target);
    found.sort_by_key(|finding| finding.code as usize);
    found.into_iter().map(|it| (it.code.as_str(), it.line, it.message)).collect()
}

fn codes(log: &str) -> Vec<&'static str> {
    findings(log).into_iter().map(|(code, ..)| code).collect()
}

/// `log` with the last line of `key` changed.
fn with(log: &str, key: &str, change: impl Fn(&str) -> String) -> String {
    let mut lines: Vec<_> = log.lines().map(ToString::to_string).collect();
    let at = lines.iter().rposition(|line| line.contains(&format!("\"{key}\""))).unwrap();
    lines[at] = change(&lines[at]);
    lines.join("\n")
}

fn replaced(log: &str, key: &str, [from, to]: [&str; 2]) -> String {
    let changed = with(log, key, |line| line.replace(from, to));
    assert_ne!(changed, log.trim_end(), "{key} has no {from}");
    changed
}

#[test]
fn sound_logs_have_no_findings() {
    assert_eq!(findings(OPEN), []);
    assert_eq!(findings(CLOSED), []);
}

#[test]
fn a_resumed_run_is_noticed() {
    let line = OPEN.lines().find(|line| line.contains("\"epoch_stop\"")).unwrap();
    let mark = line.replace("epoch_stop", "tracked_stats");
    let mark = mark.replace("\"value\": null", "\"value\": {\"resumed_after_step\": 74}");
    let resumed = OPEN.replacen(line, &format!("{mark}\n{line}"), 1);
    assert_eq!(codes(&resumed), ["resumed"]);
    assert!(findings(&resumed)[0].2.contains("after step 74"));
}

#[test]
fn a_run_from_given_weights_is_noticed() {
    let line = OPEN.lines().find(|line| line.contains("\"epoch_stop\"")).unwrap();
    let mark = line.replace("epoch_stop", "tracked_stats");
    let mark = mark.replace("\"value\": null", "\"value\": {\"pretrained_weights\": \"w\"}");
    let pretrained = OPEN.replacen(line, &format!("{mark}\n{line}"), 1);
    assert_eq!(codes(&pretrained), ["pretrained"]);
}

#[test]
fn a_log_that_cannot_be_true_says_so() {
    let seconds = OPEN.replace("\"time_ms\": 17", "\"time_ms\": 0.17");
    assert_eq!(findings(&seconds)[0].0, "time-unit");
    let twice = format!("{CLOSED}\n{CLOSED}");
    let begin = CLOSED.lines().count() + 1;
    let second: Vec<_> =
        findings(&twice).into_iter().filter(|(code, ..)| *code == "second-run").collect();
    assert_eq!(second.len(), 1, "{second:?}");
    assert!(second[0].1.unwrap() > begin, "{second:?}");
    let nan = replaced(OPEN, "eval_accuracy", ["\"value\": 0.", "\"value\": NaN, \"was\": 0."]);
    assert!(codes(&nan).contains(&"accuracy-not-finite"));
    let glued = with(OPEN, "run_start", |line| format!(":::MLLOG {{\"key\": \"seed\"}} {line}"));
    assert_eq!(codes(&glued), ["record-lost"]);
}

#[test]
fn time_may_go_backwards_before_the_run_but_not_within() {
    let early = replaced(CLOSED, "init_start", ["time_ms\": 17", "time_ms\": 18"]);
    assert_eq!(codes(&early), [""; 0]);
    let stop = CLOSED.lines().count();
    let negative = replaced(CLOSED, "run_stop", ["time_ms\": 17", "time_ms\": 16"]);
    let [(code, line, message)] = &findings(&negative)[..] else { panic!("one finding") };
    assert_eq!((*code, *line), ("time-backwards", Some(stop)));
    assert!(message.ends_with(&format!("older than line {}", stop - 1)), "{message}");
}

#[test]
fn nothing_is_logged_after_the_stop() {
    let stop = OPEN.lines().last().unwrap();
    let evaluation = OPEN.lines().rfind(|line| line.contains("eval_accuracy")).unwrap();
    let late = format!("{OPEN}{evaluation}\n{stop}\n");
    let line = OPEN.lines().count();
    assert_eq!(
        findings(&late),
        [
            (
                "eval-after-stop",
                Some(line + 1),
                format!("eval_accuracy comes after the run_stop in line {line}")
            ),
            (
                "stopped-twice",
                Some(line + 2),
                format!("run_stop was logged in line {line} already")
            ),
        ]
    );
}

#[test]
fn evaluations_come_in_the_order_of_epochs() {
    let shuffled = replaced(OPEN, "eval_accuracy", ["epoch_num\": 8", "epoch_num\": 2"]);
    assert_eq!(codes(&shuffled), ["eval-epochs-fall"]);
}

#[test]
fn the_status_must_fit_the_division_and_the_last_accuracy() {
    let aborted = ["\"success\"", "\"aborted\""];
    assert_eq!(codes(&replaced(CLOSED, "run_stop", aborted)), ["status-contradicts"]);
    assert_eq!(codes(&replaced(OPEN, "run_stop", aborted)), ["aborted"]);
    let odd = replaced(OPEN, "run_stop", ["\"success\"", "\"fail\""]);
    assert_eq!(codes(&odd), ["status-word"]);
    let short = ["0.7612", "0.7589"];
    assert_eq!(codes(&replaced(OPEN, "eval_accuracy", short)), ["open-below-target"]);
    let missed = replaced(&replaced(CLOSED, "eval_accuracy", short), "run_stop", aborted);
    assert_eq!(codes(&missed), ["aborted"]);
}

#[test]
fn epochs_count_from_1_and_have_a_start_and_an_end() {
    let zero = OPEN.replace("epoch_num\": 1}", "epoch_num\": 0}");
    assert_eq!(codes(&zero), ["epochs-from-zero"]);
    let open_ended = with(OPEN, "epoch_stop", |_| String::new());
    assert_eq!(codes(&open_ended), ["epochs-unpaired"]);
    let aborted = replaced(&open_ended, "run_stop", ["\"success\"", "\"aborted\""]);
    assert_eq!(codes(&aborted), ["aborted"], "an epoch that was cut short has no end");
}

#[test]
fn other_sample_counts_than_imagenets_are_reported() {
    let log = replaced(OPEN, "train_samples", ["1281167", "1281168"]);
    let log = replaced(&log, "eval_samples", ["50000", "6400"]);
    let messages: Vec<_> = findings(&log).into_iter().map(|(.., message)| message).collect();
    assert_eq!(
        messages,
        ["train_samples is 1281168, not 1281167", "eval_samples is 6400, not 50000"]
    );
}

#[test]
fn closed_runs_evaluate_every_4_epochs_at_the_momentum_of_the_rules() {
    let every = |epoch| ["epoch_num\": 8", epoch];
    assert_eq!(codes(&replaced(CLOSED, "eval_accuracy", every("epoch_num\": 9"))), ["eval-step"]);
    let late = CLOSED
        .replace("epoch_num\": 4}", "epoch_num\": 5}")
        .replace("epoch_num\": 8}", "epoch_num\": 9}");
    assert_eq!(codes(&late), ["eval-step"]);
    assert_eq!(codes(&replaced(OPEN, "eval_accuracy", every("epoch_num\": 9"))), [""; 0]);
    let slow = replaced(CLOSED, "lars_opt_momentum", ["0.9", "0.5"]);
    assert_eq!(codes(&slow), ["momentum"]);
    assert_eq!(codes(&replaced(&slow, "global_batch_size", ["2048", "32768"])), [""; 0]);
}

#[test]
fn a_cache_that_was_not_cleared_is_reported_with_the_reason() {
    let log = replaced(OPEN, "cache_clear", ["true", "false"]);
    let log = replaced(&log, "cache_clear", ["\"file\"", "\"reason\": \"no sudo\", \"file\""]);
    let line = OPEN.lines().position(|line| line.contains("cache_clear")).map(|at| at + 1);
    assert_eq!(
        findings(&log),
        [("cache-not-cleared", line, "cache_clear is false: no sudo".into())]
    );
}
