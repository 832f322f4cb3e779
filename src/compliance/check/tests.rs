//! Verdicts on logs with one change each.

use proptest::prelude::*;

use super::super::parse::Log;
use super::*;

const OPEN: &str = include_str!("../../../tests/logs/ok_open.txt");
const CLOSED: &str = include_str!("../../../tests/logs/ok_closed_lars.txt");
const TENSORS: &str = include_str!("../../../tests/logs/ok_closed_with_tensors.txt");

/// One line a finding: code, key, line, message.
fn findings(log: &str, ruleset: Ruleset) -> Vec<String> {
    let Log { records, flaws } = Log::parse(log.as_bytes());
    let mut checks = ReferenceChecks::new(ruleset);
    for record in &records {
        checks.read(record);
    }
    for flaw in flaws {
        checks.flaw(flaw);
    }
    let found = checks.finish().findings;
    let place = |line: Option<usize>| line.map_or("-".into(), |line| line.to_string());
    found.iter().map(|it| format!("{} {} {}", it.code, place(it.line), it.message)).collect()
}

fn without(log: &str, key: &str) -> String {
    let quoted = format!("\"{key}\"");
    log.lines().filter(|line| !line.contains(&quoted)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_missing_clock_start_is_named_at_each_place_that_needs_it() {
    insta::assert_snapshot!(
        findings(&without(OPEN, "run_start"), Ruleset::V2_0_0).join("\n"),
        @r"
        wrong-order 14 block_start has no run_start before it
        wrong-order 27 block_start has no run_start before it
        wrong-order 40 run_stop has no run_start before it
        missing-key - run_start is missing
        "
    );
}

#[test]
fn messages_have_the_value_and_what_is_allowed() {
    let log = CLOSED
        .replace("\"value\": 2048", "\"value\": \"2048\"")
        .replace("\"onprem\"", "\"sold\"")
        .replace("\"Somebody\"", "\"\"")
        .replace("8.5", "null")
        .replace("\"lars\"", "\"adam\"")
        .replace("0.7612", "\"0.7612\"")
        .replace("\"epoch_count\": 4", "\"epoch_count\": 0");
    insta::assert_snapshot!(findings(&log, Ruleset::V4_0_0).join("\n"), @r#"
    bad-value 2 submission_org is ""; it must be a string
    bad-value 4 submission_status is "sold"; it must be cloud or onprem or preview or research
    bad-metadata 24 block_start must have epoch_count above 0 in its metadata
    bad-metadata 37 block_start must have epoch_count above 0 in its metadata
    bad-value 9 global_batch_size is "2048"; it must be a number above 0
    bad-value 13 opt_name is "adam"; it must be sgd or lars
    accuracy-not-a-number 47 eval_accuracy is "0.7612"; it must be a number
    target-not-reached 47 no eval_accuracy is at least 0.759 and below 1; the best of 2 is 0.41
    "#);
}

#[test]
fn optimizer_values_are_checked() {
    let log = CLOSED
        .replace("\"value\": 0.0002", "\"value\": 0.00003")
        .replace("\"value\": 0.0001", "\"value\": 0.0002")
        .replace("\"lars_opt_momentum\"", "\"lars_opt_weight_decay\"");
    insta::assert_snapshot!(findings(&log, Ruleset::V4_0_0).join("\n"), @r"
    bad-value 15 lars_opt_end_learning_rate is 0.0002; it must be 0.0001
    bad-value 20 lars_opt_weight_decay is 0.9; it must be 0.0001 times a power of two
    bad-value 21 lars_opt_weight_decay is 3e-5; it must be 0.0001 times a power of two
    missing-key - lars_opt_momentum is missing
    repeated-key 21 lars_opt_weight_decay occurs 2 times and is 0.9 in line 20 but 3e-5 here
    ");
}

#[test]
fn init_has_a_limit_that_depends_on_rules_and_division() {
    let slow = |log: &str| log.replace("\"time_ms\": 1700000000010", "\"time_ms\": 1699998500010");
    assert_eq!(findings(&slow(OPEN), Ruleset::V4_0_0), [""; 0]);
    assert_eq!(findings(&slow(CLOSED), Ruleset::V4_0_0), [""; 0]);
    let message = "init_stop comes 26.0 min after init_start; 20 min are allowed";
    assert_eq!(findings(&slow(OPEN), Ruleset::V0_7_0), [format!("init-too-long 13 {message}")]);
    let slower = CLOSED.replace("\"time_ms\": 1700000000010", "\"time_ms\": 1699998000010");
    let message = "init_stop comes 34.3 min after init_start; 30 min are allowed";
    assert_eq!(findings(&slower, Ruleset::V4_0_0), [format!("init-too-long 22 {message}")]);
}

#[test]
fn tensors_are_compared_one_by_one() {
    assert_eq!(findings(TENSORS, Ruleset::V2_0_0), [""; 0]);
    let log =
        TENSORS.replace("\"fc1_bias\"", "\"fc_bias\"").replace("\"bn0_beta\"", "\"bn0_gamma\"");
    let message = "the tensors of weights_initialization are not the reference's 161: \
                   2 (bn0_beta first) missing, 1 (fc_bias first) unknown, 1 repeated";
    assert_eq!(findings(&log, Ruleset::V2_0_0), [format!("tensors-differ - {message}")]);
}

#[test]
fn an_empty_log_is_reported_first() {
    let found = findings("no token here\n", Ruleset::V4_0_0);
    assert_eq!(found[0], "no-records - no line contains the token \":::MLLOG \" (with its space)");
}

#[test]
fn equal_repeats_are_a_warning_and_different_ones_an_error() {
    let org = OPEN.lines().find(|line| line.contains("submission_org")).unwrap();
    let other = org.replace("Somebody", "Nobody");
    let twice = findings(&format!("{org}\n{OPEN}"), Ruleset::V4_0_0);
    let both = findings(&format!("{other}\n{OPEN}"), Ruleset::V4_0_0);
    insta::assert_snapshot!([twice, both].concat().join("\n"), @r#"
    repeated-equal-key 3 submission_org occurs 2 times, first in line 1, with the same value
    repeated-key 3 submission_org occurs 2 times and is "Nobody" in line 1 but "Somebody" here
    "#);
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_the_line_end(
        kept in proptest::collection::vec(any::<bool>(), 60),
        ruleset in proptest::sample::select(&Ruleset::ALL[..]),
    ) {
        let lines: Vec<_> =
            CLOSED.lines().zip(kept).filter(|(_, kept)| *kept).map(|(line, _)| line).collect();
        let unix = findings(&lines.join("\n"), ruleset);
        prop_assert_eq!(&findings(&lines.join("\r\n"), ruleset), &unix);
        prop_assert_eq!(&findings(&lines.join("\r"), ruleset), &unix);
    }
}
