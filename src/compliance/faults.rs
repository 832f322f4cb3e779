//! What the reference overlooks: faults, which no honest log has, and advice.

use super::code::Code;
use super::finding::Finding;
use super::parse::Record;
use super::rules::TargetPart;
use super::value::Value;
use crate::mllog::{Key, PRETRAINED, RESUMED};

#[cfg(test)]
mod tests;

/// A time in 2001, long before MLPerf. Today's times in seconds are below it.
const EARLIEST_MS: f64 = 1e12;

/// Our own checks. The reference makes none of them.
#[derive(Default)]
pub(super) struct OwnChecks {
    /// `submission_division` is closed.
    closed: Option<bool>,
    /// From the last `run_start` to the first `run_stop`.
    timed: Option<Timed>,
    stop: Option<Stop>,
    evaluations: Evaluations,
    num_epoch_starts: usize,
    num_epoch_stops: usize,
    /// Line of the first `run_start`.
    started: Option<usize>,
    momentum: Option<(usize, Value)>,
    batch_size: Option<f64>,
    /// Some metrics were computed after the run, so that records may be out of order.
    evaluates_later: bool,
    /// Findings that did not have to wait for the end of the log, one per code.
    findings: Vec<Finding>,
}

struct Timed {
    line: usize,
    time_ms: f64,
    backwards: Option<Finding>,
}

struct Stop {
    line: usize,
    status: Option<String>,
}

#[derive(Default)]
struct Evaluations {
    /// Line and epoch of the previous evaluation.
    before: Option<(usize, f64)>,
    /// Epoch of the first evaluation with an accuracy.
    first: Option<f64>,
    /// Epoch and accuracy of the last evaluation.
    last: Option<(f64, f64)>,
    /// The first two successive evaluations that are not 4 epochs apart.
    odd_step: Option<(f64, f64)>,
}

impl OwnChecks {
    /// Processes the next record. `key` is the record's key if MLPerf defines it.
    pub(super) fn read(&mut self, key: Option<Key>, record: &Record) {
        self.time(key, record);
        self.epoch_zero(record);
        self.lost(record);
        match key {
            Some(Key::RunStart) => self.run_start(record),
            Some(key @ (Key::SubmissionBenchmark | Key::InitStart)) => self.second_run(key, record),
            Some(Key::SubmissionDivision) => {
                self.closed.get_or_insert(record.value.as_str() == Some("closed"));
            }
            Some(Key::RunStop) => self.run_stop(record),
            Some(Key::EvalAccuracy) => self.evaluation(record),
            Some(Key::EpochStart) => self.num_epoch_starts += 1,
            Some(Key::EpochStop) => self.num_epoch_stops += 1,
            Some(Key::TrainSamples) => self.samples(Code::TrainSamples, record, 1_281_167),
            Some(Key::EvalSamples) => self.samples(Code::EvalSamples, record, 50_000),
            Some(Key::LarsOptMomentum) => {
                self.momentum.get_or_insert_with(|| (record.line, record.value.clone()));
            }
            Some(Key::GlobalBatchSize) => {
                self.batch_size = self.batch_size.or(record.value.as_f64());
            }
            Some(Key::CacheClear) => self.cache(record),
            Some(Key::TrackedStats) => self.marks(record),
            _ => {}
        }
    }

    /// All findings, for a log of this benchmark with this target of the closed division.
    pub(super) fn finish(mut self, benchmark: &str, target: Option<&[TargetPart]>) -> Vec<Finding> {
        let backwards = self.timed.take().and_then(|timed| timed.backwards);
        let mut findings = std::mem::take(&mut self.findings);
        findings.extend(backwards.filter(|_| !self.evaluates_later));
        findings.extend(self.status(target));
        findings.extend(self.unpaired());
        if benchmark != "resnet" {
            findings.retain(|finding| !is_about_resnet(finding.code));
        } else if self.closed == Some(true) {
            findings.extend(self.evaluations.step());
            findings.extend(self.momentum());
        }
        findings
    }

    /// Stores only the first finding of each code.
    fn once(&mut self, finding: Finding) {
        if self.findings.iter().all(|other| other.code != finding.code) {
            self.findings.push(finding);
        }
    }

    /// Within the timed part, no record may be older than the one before it.
    fn time(&mut self, key: Option<Key>, record: &Record) {
        let Record { line, time_ms, .. } = *record;
        self.evaluates_later |= is_computed_later(record);
        if self.stop.is_some() {
            return;
        }
        if key == Some(Key::RunStart) {
            self.timed = Some(Timed { line, time_ms, backwards: None });
            return;
        }
        let Some(timed) = &mut self.timed else { return };
        if time_ms < timed.time_ms && timed.backwards.is_none() {
            let back_ms = timed.time_ms - time_ms;
            let message = format!("{} is {back_ms} ms older than line {}", record.key, timed.line);
            let (code, line) = (Code::TimeBackwards, Some(line));
            timed.backwards = Some(Finding { code, key: None, line, message });
        }
        (timed.line, timed.time_ms) = (line, time_ms);
    }

    fn lost(&mut self, record: &Record) {
        if record.follows_another {
            let message = format!("{} follows another record in its line", record.key);
            let (code, line) = (Code::RecordLost, Some(record.line));
            self.once(Finding { code, key: None, line, message });
        }
    }

    fn run_start(&mut self, record: &Record) {
        self.started.get_or_insert(record.line);
        if record.time_ms < EARLIEST_MS {
            let message = format!("time_ms is {}, as if it were in seconds", record.time_ms);
            self.once(Finding::of(Code::TimeUnit, Key::RunStart, Some(record.line), message));
        }
    }

    fn second_run(&mut self, key: Key, record: &Record) {
        if let Some(line) = self.started {
            let message = format!("a second run begins here; the first one started in line {line}");
            self.once(Finding::of(Code::SecondRun, key, Some(record.line), message));
        }
    }

    fn run_stop(&mut self, record: &Record) {
        let Some(stop) = &self.stop else {
            let status = record.metadata.get("status").and_then(Value::as_str);
            self.stop = Some(Stop { line: record.line, status: status.map(str::to_owned) });
            return;
        };
        let message = format!("run_stop was logged in line {} already", stop.line);
        self.once(Finding::of(Code::StoppedTwice, Key::RunStop, Some(record.line), message));
    }

    fn evaluation(&mut self, record: &Record) {
        if is_computed_later(record) {
            return;
        }
        let (code, key, line) = (Code::EvalAfterStop, Key::EvalAccuracy, Some(record.line));
        let epoch = record.metadata.get("epoch_num").and_then(Value::as_f64);
        if let Some(stop) = &self.stop {
            let message = format!("eval_accuracy comes after the run_stop in line {}", stop.line);
            self.once(Finding::of(code, key, line, message));
        } else if let (Some(epoch), Some(accuracy)) = (epoch, record.value.as_f64()) {
            self.evaluations.add(epoch, accuracy);
        }
        if record.value.as_f64().is_some_and(|accuracy| !accuracy.is_finite()) {
            let message = format!("eval_accuracy is {}", record.value);
            self.once(Finding::of(Code::AccuracyNotFinite, key, line, message));
        }
        let Some(epoch) = epoch else { return };
        if let Some((line_before, before)) = self.evaluations.before
            && epoch < before
        {
            let message = format!(
                "eval_accuracy of epoch {epoch} comes after the one of epoch {before} in line \
                 {line_before}"
            );
            self.once(Finding::of(Code::EvalEpochsFall, key, line, message));
        }
        self.evaluations.before = Some((record.line, epoch));
    }

    fn epoch_zero(&mut self, record: &Record) {
        let metadata = &record.metadata;
        let number = metadata.get("epoch_num").or_else(|| metadata.get("first_epoch_num"));
        if number.and_then(Value::as_f64) == Some(0.0) {
            let message = format!("{} names epoch 0", record.key);
            let (code, line) = (Code::EpochsFromZero, Some(record.line));
            self.once(Finding { code, key: None, line, message });
        }
    }

    fn samples(&mut self, code: Code, record: &Record, wanted: i128) {
        if !record.value.same(&Value::Int(wanted)) {
            let key = if code == Code::TrainSamples { Key::TrainSamples } else { Key::EvalSamples };
            let message = format!("{} is {}, not {wanted}", record.key, record.value);
            self.once(Finding::of(code, key, Some(record.line), message));
        }
    }

    fn marks(&mut self, record: &Record) {
        let line = Some(record.line);
        if let Some(file) = record.value.get(PRETRAINED) {
            let message = format!("the run began with the weights of {file}");
            self.once(Finding::of(Code::Pretrained, Key::TrackedStats, line, message));
        }
        if let Some(step) = record.value.get(RESUMED) {
            let message = format!("the run goes on after step {step} of an interrupted one");
            self.once(Finding::of(Code::Resumed, Key::TrackedStats, line, message));
        }
    }

    fn cache(&mut self, record: &Record) {
        if !record.value.same(&Value::Bool(false)) {
            return;
        }
        let message = match record.metadata.get("reason").and_then(Value::as_str) {
            Some(reason) => format!("cache_clear is false: {reason}"),
            None => "cache_clear is false".into(),
        };
        let line = Some(record.line);
        self.once(Finding::of(Code::CacheNotCleared, Key::CacheClear, line, message));
    }

    fn status(&self, target: Option<&[TargetPart]>) -> Option<Finding> {
        let stop = self.stop.as_ref()?;
        let closed = self.closed == Some(true);
        let accuracy = self.evaluations.last.map(|(_, accuracy)| accuracy);
        let number = |name: &str| self.batch_size.filter(|_| name == "global_batch_size");
        let reached = accuracy.zip(target).and_then(|(accuracy, target)| {
            TargetPart::all_met(target, &Value::Float(accuracy), &number)
        });
        let target = target.map_or(String::new(), |target| target[0].describe());
        let (code, message) = match (stop.status.as_deref()?, accuracy, reached) {
            ("success", Some(accuracy), Some(false)) if !closed => (
                Code::OpenBelowTarget,
                format!("status is success, but the last accuracy is {accuracy}, not {target}"),
            ),
            ("success", ..) => return None,
            (word, Some(accuracy), Some(true)) if closed => (
                Code::StatusContradicts,
                format!("status is {word}, but the last accuracy is {accuracy}, {target}"),
            ),
            ("aborted", ..) => (Code::Aborted, "status is aborted".into()),
            (word, ..) => {
                (Code::StatusWord, format!("status is {word:?}, neither success nor aborted"))
            }
        };
        Some(Finding::of(code, Key::RunStop, Some(stop.line), message))
    }

    fn unpaired(&self) -> Option<Finding> {
        let (starts, stops) = (self.num_epoch_starts, self.num_epoch_stops);
        let success = self.stop.as_ref()?.status.as_deref() == Some("success");
        let message = format!("epoch_start occurs {starts} times, epoch_stop {stops} times");
        (success && starts != stops)
            .then(|| Finding::of(Code::EpochsUnpaired, Key::EpochStop, None, message))
    }

    fn momentum(&self) -> Option<Finding> {
        let ((line, momentum), batch) = (self.momentum.as_ref()?, self.batch_size?);
        if batch >= 32_768.0 || momentum.same(&Value::Float(0.9)) {
            return None;
        }
        let message = format!("lars_opt_momentum is {momentum} at batch size {batch}, not 0.9");
        Some(Finding::of(Code::Momentum, Key::LarsOptMomentum, Some(*line), message))
    }
}

impl Evaluations {
    fn add(&mut self, epoch: f64, accuracy: f64) {
        self.first.get_or_insert(epoch);
        if let Some((before, _)) = self.last
            && epoch.total_cmp(&(before + 4.0)).is_ne()
        {
            self.odd_step.get_or_insert((before, epoch));
        }
        self.last = Some((epoch, accuracy));
    }

    /// Closed runs evaluate every 4 epochs, first after epoch 1 to 4.
    fn step(&self) -> Option<Finding> {
        let first = self.first?;
        let message = match self.odd_step {
            _ if !(1.0..=4.0).contains(&first) => {
                format!("the first evaluation is after epoch {first}")
            }
            Some((before, epoch)) => {
                format!(
                    "the evaluation after epoch {before} is followed by one after epoch {epoch}"
                )
            }
            None => return None,
        };
        Some(Finding::of(Code::EvalStep, Key::EvalAccuracy, None, message))
    }
}

/// Whether the record is one of several metrics of an evaluation, which may be computed after the
/// run from what the run has saved.
fn is_computed_later(record: &Record) -> bool {
    record.key == Key::EvalAccuracy.as_str() && record.metadata.contains("metric") == Some(true)
}

/// Whether a code is about the data of `ResNet`.
fn is_about_resnet(code: Code) -> bool {
    matches!(code, Code::TrainSamples | Code::EvalSamples)
}
