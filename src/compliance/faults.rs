//! What the reference overlooks: faults, which no honest log has, and advice.

use super::code::Code;
use super::parse::{Log, Record};
use super::report::Finding;
use super::rules::TARGET;
use super::timing::Curve;
use super::value::Value;
use crate::mllog::Key;

/// Our own findings; none of them is the reference's.
pub(super) fn own_findings(log: &Log) -> Vec<Finding> {
    let run = Run::of(log);
    let mut findings = Vec::new();
    findings.extend(time_backwards(&run));
    findings.extend(stops(log, &run));
    findings.extend(eval_epochs(log));
    findings.extend(status(&run));
    findings.extend(epochs(log, &run));
    findings.extend(samples(log));
    findings.extend(closed_advice(log, &run));
    findings.extend(cache(log));
    findings
}

/// What the findings ask the log for.
struct Run<'a> {
    /// From the last `run_start` before the first `run_stop` up to that one.
    timed: &'a [Record],
    stop: Option<&'a Record>,
    status: Option<&'a str>,
    closed: bool,
    curve: Curve,
}

impl<'a> Run<'a> {
    fn of(log: &'a Log) -> Self {
        let records = &log.records;
        let at = |key: Key| records.iter().position(|record| record.key == key.as_str());
        let stop = at(Key::RunStop);
        let before_stop = &records[..stop.unwrap_or(records.len())];
        let start = before_stop.iter().rposition(|record| record.key == Key::RunStart.as_str());
        let end = stop.map_or(records.len(), |stop| stop + 1);
        let stop = stop.map(|stop| &records[stop]);
        let division = log.first(Key::SubmissionDivision.as_str());
        Self {
            timed: start.map_or(&[], |start| &records[start..end]),
            stop,
            status: stop.and_then(|stop| stop.metadata.get("status")).and_then(Value::as_str),
            closed: division.and_then(|record| record.value.as_str()) == Some("closed"),
            curve: Curve::of(log),
        }
    }

    fn claims_success(&self) -> bool {
        self.status == Some("success")
    }

    /// The last accuracy, if it misses or reaches the target.
    fn last_accuracy(&self) -> Option<f64> {
        self.curve.last().map(|point| point.accuracy)
    }
}

/// The first record of the timed part that is older than the one before it.
fn time_backwards(run: &Run) -> Option<Finding> {
    let pair = run.timed.windows(2).find(|pair| pair[1].time_ms < pair[0].time_ms)?;
    let [before, after] = pair else { return None };
    let back_ms = before.time_ms - after.time_ms;
    let message = format!("{} is {back_ms} ms older than line {}", after.key, before.line);
    Some(Finding { code: Code::TimeBackwards, key: None, line: Some(after.line), message })
}

fn stops(log: &Log, run: &Run) -> Vec<Finding> {
    let Some(stop) = run.stop else { return Vec::new() };
    let mut findings = Vec::new();
    if let Some(second) = log.all(Key::RunStop.as_str()).nth(1) {
        let message = format!("run_stop has been logged in line {} already", stop.line);
        findings.push(Finding::of(Code::StoppedTwice, Key::RunStop, Some(second.line), message));
    }
    let mut accuracies = log.all(Key::EvalAccuracy.as_str());
    if let Some(late) = accuracies.find(|record| record.line > stop.line) {
        let message = format!("eval_accuracy comes after run_stop of line {}", stop.line);
        findings.push(Finding::of(
            Code::EvalAfterStop,
            Key::EvalAccuracy,
            Some(late.line),
            message,
        ));
    }
    findings
}

fn eval_epochs(log: &Log) -> Option<Finding> {
    let epochs: Vec<_> = log
        .all(Key::EvalAccuracy.as_str())
        .filter_map(|record| Some((record.line, epoch(record)?)))
        .collect();
    let pair = epochs.windows(2).find(|pair| pair[1].1 < pair[0].1)?;
    let message = format!(
        "eval_accuracy of epoch {} comes after that of epoch {} in line {}",
        pair[1].1, pair[0].1, pair[0].0
    );
    Some(Finding::of(Code::EvalEpochsFall, Key::EvalAccuracy, Some(pair[1].0), message))
}

fn epoch(record: &Record) -> Option<f64> {
    record.metadata.get("epoch_num").and_then(Value::as_f64)
}

fn status(run: &Run) -> Option<Finding> {
    let (line, word) = (run.stop?.line, run.status?);
    let accuracy = run.last_accuracy();
    let reached = accuracy.is_some_and(|accuracy| accuracy >= TARGET);
    let (code, message) = match (word, accuracy) {
        ("success", Some(accuracy)) if !reached && !run.closed => (
            Code::OpenBelowTarget,
            format!("status is success, but the last accuracy is {accuracy}, below {TARGET}"),
        ),
        ("success", _) => return None,
        (_, Some(accuracy)) if reached && run.closed => (
            Code::StatusContradicts,
            format!("status is {word}, but the last accuracy is {accuracy}, at least {TARGET}"),
        ),
        ("aborted", _) => (Code::Aborted, "status is aborted: the run was given up".into()),
        _ => (Code::StatusWord, format!("status is {word:?}, neither success nor aborted")),
    };
    Some(Finding::of(code, Key::RunStop, Some(line), message))
}

fn epochs(log: &Log, run: &Run) -> Vec<Finding> {
    let mut findings = Vec::new();
    let first = log.records.iter().find(|record| {
        let metadata = &record.metadata;
        let number = metadata.get("epoch_num").or_else(|| metadata.get("first_epoch_num"));
        number.and_then(Value::as_f64) == Some(0.0)
    });
    if let Some(first) = first {
        findings.push(Finding {
            code: Code::EpochsFromZero,
            key: None,
            line: Some(first.line),
            message: format!("{} names epoch 0", first.key),
        });
    }
    let count = |key: Key| log.all(key.as_str()).count();
    let (starts, stops) = (count(Key::EpochStart), count(Key::EpochStop));
    if run.claims_success() && starts != stops {
        let message = format!("epoch_start occurs {starts} times, epoch_stop {stops} times");
        findings.push(Finding::of(Code::EpochsUnpaired, Key::EpochStop, None, message));
    }
    findings
}

fn samples(log: &Log) -> Vec<Finding> {
    [
        (Code::TrainSamples, Key::TrainSamples, 1_281_167),
        (Code::EvalSamples, Key::EvalSamples, 50_000),
    ]
    .into_iter()
    .filter_map(|(code, key, wanted)| {
        let record = log.first(key.as_str())?;
        if record.value.same(&Value::Int(wanted)) {
            return None;
        }
        let message = format!("{} is {}, not {wanted}", key.as_str(), record.value);
        Some(Finding::of(code, key, Some(record.line), message))
    })
    .collect()
}

fn closed_advice(log: &Log, run: &Run) -> Vec<Finding> {
    if !run.closed {
        return Vec::new();
    }
    eval_step(&run.curve).into_iter().chain(momentum(log)).collect()
}

/// Evaluations every 4 epochs, the first one after epoch 1 to 4.
fn eval_step(curve: &Curve) -> Option<Finding> {
    let epochs: Vec<f64> = curve.points.iter().map(|point| point.epoch).collect();
    let first = *epochs.first()?;
    let odd_step = epochs.windows(2).find(|pair| pair[1].total_cmp(&(pair[0] + 4.0)).is_ne());
    let message = match odd_step {
        _ if !(1.0..=4.0).contains(&first) => {
            format!("the first evaluation is that of epoch {first}")
        }
        Some(pair) => format!("after epoch {} the next evaluation is that of {}", pair[0], pair[1]),
        None => return None,
    };
    Some(Finding::of(Code::EvalStep, Key::EvalAccuracy, None, message))
}

fn momentum(log: &Log) -> Option<Finding> {
    let record = log.first(Key::LarsOptMomentum.as_str())?;
    let batch = log.first(Key::GlobalBatchSize.as_str())?.value.as_f64()?;
    if batch >= 32_768.0 || record.value.same(&Value::Float(0.9)) {
        return None;
    }
    let message = format!("lars_opt_momentum is {} at batch size {batch}, not 0.9", record.value);
    Some(Finding::of(Code::Momentum, Key::LarsOptMomentum, Some(record.line), message))
}

fn cache(log: &Log) -> Option<Finding> {
    let record = log.all(Key::CacheClear.as_str()).find(|r| r.value.same(&Value::Bool(false)))?;
    let reason = record.metadata.get("reason").and_then(Value::as_str);
    let message = match reason {
        Some(reason) => format!("cache_clear is false: {reason}"),
        None => "cache_clear is false".into(),
    };
    Some(Finding::of(Code::CacheNotCleared, Key::CacheClear, Some(record.line), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = include_str!("../../tests/logs/ok_open.txt");
    const CLOSED: &str = include_str!("../../tests/logs/ok_closed_lars.txt");

    fn findings(log: &str) -> Vec<(&'static str, Option<usize>, String)> {
        let found = own_findings(&Log::parse(log.as_bytes()));
        found.into_iter().map(|it| (it.code.as_str(), it.line, it.message)).collect()
    }

    fn codes(log: &str) -> Vec<&'static str> {
        findings(log).into_iter().map(|(code, ..)| code).collect()
    }

    /// `log` with its one line of `key` (or the last of several) changed.
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
    fn nothing_is_evaluated_and_nothing_stops_after_the_stop() {
        let stop = OPEN.lines().last().unwrap();
        let evaluation = OPEN.lines().rfind(|line| line.contains("eval_accuracy")).unwrap();
        let late = format!("{OPEN}{evaluation}\n{stop}\n");
        let line = OPEN.lines().count();
        assert_eq!(
            findings(&late),
            [
                (
                    "stopped-twice",
                    Some(line + 2),
                    format!("run_stop has been logged in line {line} already")
                ),
                (
                    "eval-after-stop",
                    Some(line + 1),
                    format!("eval_accuracy comes after run_stop of line {line}")
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
    fn a_status_is_weighed_against_the_division_and_the_last_accuracy() {
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
    fn epochs_count_from_1_and_have_two_ends() {
        let zero = OPEN.replace("epoch_num\": 1}", "epoch_num\": 0}");
        assert_eq!(codes(&zero), ["epochs-from-zero"]);
        let open_ended = with(OPEN, "epoch_stop", |_| String::new());
        assert_eq!(codes(&open_ended), ["epochs-unpaired"]);
        let aborted = replaced(&open_ended, "run_stop", ["\"success\"", "\"aborted\""]);
        assert_eq!(codes(&aborted), ["aborted"], "an epoch that was cut short has no end");
    }

    #[test]
    fn what_is_not_imagenet_is_pointed_out() {
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
        assert_eq!(
            codes(&replaced(CLOSED, "eval_accuracy", every("epoch_num\": 9"))),
            ["eval-step"]
        );
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
    fn caches_that_were_not_cleared_are_pointed_out_with_the_reason() {
        let log = replaced(OPEN, "cache_clear", ["true", "false"]);
        let log = replaced(&log, "cache_clear", ["\"file\"", "\"reason\": \"no sudo\", \"file\""]);
        let line = OPEN.lines().position(|line| line.contains("cache_clear")).map(|at| at + 1);
        assert_eq!(
            findings(&log),
            [("cache-not-cleared", line, "cache_clear is false: no sudo".into())]
        );
    }
}
