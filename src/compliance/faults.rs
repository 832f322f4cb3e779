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

fn finding(code: Code, key: Key, line: Option<usize>, message: String) -> Finding {
    Finding { code, key: Some(key.as_str()), line, message }
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
        findings.push(finding(Code::StoppedTwice, Key::RunStop, Some(second.line), message));
    }
    let mut accuracies = log.all(Key::EvalAccuracy.as_str());
    if let Some(late) = accuracies.find(|record| record.line > stop.line) {
        let message = format!("eval_accuracy comes after run_stop of line {}", stop.line);
        findings.push(finding(Code::EvalAfterStop, Key::EvalAccuracy, Some(late.line), message));
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
    Some(finding(Code::EvalEpochsFall, Key::EvalAccuracy, Some(pair[1].0), message))
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
    Some(finding(code, Key::RunStop, Some(line), message))
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
        findings.push(finding(Code::EpochsUnpaired, Key::EpochStop, None, message));
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
        Some(finding(code, key, Some(record.line), message))
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
    let odd_step = epochs.windows(2).find(|pair| pair[1] != pair[0] + 4.0);
    let message = match odd_step {
        _ if !(1.0..=4.0).contains(&first) => {
            format!("the first evaluation is that of epoch {first}")
        }
        Some(pair) => format!("after epoch {} the next evaluation is that of {}", pair[0], pair[1]),
        None => return None,
    };
    Some(finding(Code::EvalStep, Key::EvalAccuracy, None, message))
}

fn momentum(log: &Log) -> Option<Finding> {
    let record = log.first(Key::LarsOptMomentum.as_str())?;
    let batch = log.first(Key::GlobalBatchSize.as_str())?.value.as_f64()?;
    if batch >= 32_768.0 || record.value.same(&Value::Float(0.9)) {
        return None;
    }
    let message = format!("lars_opt_momentum is {} at batch size {batch}, not 0.9", record.value);
    Some(finding(Code::Momentum, Key::LarsOptMomentum, Some(record.line), message))
}

fn cache(log: &Log) -> Option<Finding> {
    let record = log.all(Key::CacheClear.as_str()).find(|r| r.value.same(&Value::Bool(false)))?;
    let reason = record.metadata.get("reason").and_then(Value::as_str);
    let message = match reason {
        Some(reason) => format!("cache_clear is false: {reason}"),
        None => "cache_clear is false".into(),
    };
    Some(finding(Code::CacheNotCleared, Key::CacheClear, Some(record.line), message))
}
