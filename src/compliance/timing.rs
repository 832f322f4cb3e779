//! The times and accuracies that a log reports.

use super::parse::Record;
use super::value::Value;
use crate::mllog::Key;

/// The most points that a curve holds, because a log may have more than fit in memory.
const MAX_POINTS: usize = 100_000;

/// The timed part of a run, as the reference summarizer measures it, and how it was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunTiming {
    /// `run_start`, ms since the Unix epoch.
    pub start_ms: f64,
    /// `run_stop`, ms since the Unix epoch.
    pub stop_ms: f64,
    /// Minutes between the two; negative if the log's clock ran backwards.
    pub minutes: f64,
    /// Epochs with a start and an end; blocks, in logs that have only blocks.
    pub num_epochs: usize,
    /// Seconds of the first epoch.
    pub first_epoch_s: f64,
    /// Seconds of all epochs.
    pub epochs_s: f64,
    /// Evaluations with a start and an end.
    pub num_evals: usize,
    /// Seconds of the first evaluation.
    pub first_eval_s: f64,
    /// Seconds of all evaluations.
    pub evals_s: f64,
}

impl RunTiming {
    /// Seconds from `run_start` to `run_stop`.
    pub fn seconds(&self) -> f64 {
        60.0 * self.minutes
    }

    /// Mean seconds of the epochs after the first.
    pub fn later_epoch_s(&self) -> Option<f64> {
        let num_later = self.num_epochs.checked_sub(1).filter(|num| *num > 0)?;
        Some((self.epochs_s - self.first_epoch_s) / num_later as f64)
    }

    /// The time by which the first epoch exceeds the mean of the later ones (usually because of a
    /// cold cache), as a fraction of the run.
    pub fn first_epoch_fraction(&self) -> Option<f64> {
        self.fraction(self.first_epoch_s - self.later_epoch_s()?)
    }

    /// The time of the evaluations, as a fraction of the run.
    pub fn eval_fraction(&self) -> Option<f64> {
        self.fraction(self.evals_s)
    }

    /// The time outside epochs and evaluations, before the first epoch and between them, as a
    /// fraction of the run.
    pub fn gap_fraction(&self) -> Option<f64> {
        self.fraction((self.seconds() - self.epochs_s - self.evals_s).max(0.0))
    }

    fn fraction(&self, seconds: f64) -> Option<f64> {
        (self.num_epochs > 0 && self.seconds() > 0.0).then(|| seconds / self.seconds())
    }
}

/// Accuracy by epoch, or by samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// In the order of the file.
    pub points: Vec<CurvePoint>,
}

/// One `eval_accuracy`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// `metadata.epoch_num`, or `samples_count` in logs that count samples.
    pub position: f64,
    /// The value: an accuracy from 0 to 1, a loss or another metric.
    pub accuracy: f64,
    /// ms since the Unix epoch.
    pub time_ms: f64,
}

impl Curve {
    /// The last evaluation.
    pub fn last(&self) -> Option<CurvePoint> {
        self.points.last().copied()
    }

    fn add(&mut self, record: &Record) {
        let member = |name: &str| record.metadata.get(name).and_then(Value::as_f64);
        let position = member("epoch_num").or_else(|| member("samples_count"));
        if let (Some(position), Some(accuracy)) = (position, record.value.as_f64()) {
            let point = CurvePoint { position, accuracy, time_ms: record.time_ms };
            if self.points.len() == MAX_POINTS {
                self.points.pop();
            }
            self.points.push(point);
        }
    }
}

/// An epoch between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochSpan {
    /// `metadata.epoch_num` of its start; its place in the log, from 1, in logs without it.
    pub epoch: f64,
    /// ms since the Unix epoch.
    pub start_ms: f64,
    /// ms since the Unix epoch.
    pub stop_ms: f64,
}

impl EpochSpan {
    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.stop_ms - self.start_ms) / 1e3
    }
}

/// What the log reports by time: its start, its epochs and its accuracies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// The timed part, if the log has a start and an end.
    pub timing: Option<RunTiming>,
    /// The last `run_start` before the end, ms since the Unix epoch.
    pub start_ms: Option<f64>,
    /// Epochs with a start and an end, in the order of the file.
    pub epochs: Vec<EpochSpan>,
    /// Accuracy by epoch.
    pub curve: Curve,
}

/// Collects times and accuracies while the log is read.
#[derive(Default)]
pub(super) struct Stopwatch {
    run_start: Option<f64>,
    open_epoch: Option<f64>,
    epoch_spans: Vec<EpochSpan>,
    stopped: Option<f64>,
    ends_known: Option<RunTiming>,
    epochs: Spans,
    blocks: Spans,
    evals: Spans,
    curve: Curve,
}

/// Spans of one kind since `run_start`.
#[derive(Clone, Copy, Default)]
struct Spans {
    open: Option<f64>,
    num: usize,
    first_s: f64,
    sum_s: f64,
}

impl Spans {
    fn close(&mut self, time_ms: f64) {
        let Some(open) = self.open.take() else { return };
        let seconds = (time_ms - open) / 1e3;
        if self.num == 0 {
            self.first_s = seconds;
        }
        self.num += 1;
        self.sum_s += seconds;
    }
}

impl Stopwatch {
    /// Processes the next record.
    ///
    /// Start and end are those that the reference summarizer uses: the last `run_start` before the
    /// first `run_stop`. Later records are ignored. The curve ends with the first `run_stop`.
    pub(super) fn read(&mut self, key: Option<Key>, record: &Record) {
        let time_ms = record.time_ms;
        let Some(key) = key.filter(|_| self.ends_known.is_none()) else { return };
        if self.stopped.is_none() {
            if matches!(key, Key::EpochStart | Key::EpochStop) {
                self.epoch_span(key, record);
            }
            self.span(key, time_ms);
        }
        match key {
            Key::EvalAccuracy if self.stopped.is_none() => self.curve.add(record),
            Key::RunStart => {
                self.run_start = Some(time_ms);
                (self.epochs, self.blocks, self.evals) = Default::default();
                self.epoch_spans.clear();
            }
            Key::RunStop => self.stopped = Some(time_ms),
            _ => return,
        }
        if let (Some(start_ms), Some(stop_ms)) = (self.run_start, self.stopped) {
            self.ends_known = Some(self.timing(start_ms, stop_ms));
        }
    }

    /// Called before [`Self::span`] closes the epoch.
    fn epoch_span(&mut self, key: Key, record: &Record) {
        let num = || record.metadata.get("epoch_num").and_then(Value::as_f64);
        match (key, self.epochs.open) {
            (Key::EpochStart, _) => {
                self.open_epoch = Some(num().unwrap_or(self.epoch_spans.len() as f64 + 1.0));
            }
            (_, Some(start_ms)) if self.epoch_spans.len() < MAX_POINTS => {
                if let Some(epoch) = self.open_epoch.take() {
                    let span = EpochSpan { epoch, start_ms, stop_ms: record.time_ms };
                    self.epoch_spans.push(span);
                }
            }
            _ => {}
        }
    }

    fn span(&mut self, key: Key, time_ms: f64) {
        match key {
            Key::EpochStart => self.epochs.open = Some(time_ms),
            Key::EpochStop => self.epochs.close(time_ms),
            Key::BlockStart => self.blocks.open = Some(time_ms),
            Key::BlockStop => self.blocks.close(time_ms),
            Key::EvalStart => self.evals.open = Some(time_ms),
            Key::EvalStop => self.evals.close(time_ms),
            _ => {}
        }
    }

    fn timing(&self, start_ms: f64, stop_ms: f64) -> RunTiming {
        let epochs = if self.epochs.num > 0 { self.epochs } else { self.blocks };
        RunTiming {
            start_ms,
            stop_ms,
            minutes: (stop_ms - start_ms) / 60.0 / 1000.0,
            num_epochs: epochs.num,
            first_epoch_s: epochs.first_s,
            epochs_s: epochs.sum_s,
            num_evals: self.evals.num,
            first_eval_s: self.evals.first_s,
            evals_s: self.evals.sum_s,
        }
    }

    /// What has been collected.
    pub(super) fn finish(self) -> Course {
        Course {
            timing: self.ends_known,
            start_ms: self.run_start,
            epochs: self.epoch_spans,
            curve: self.curve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::Log;
    use super::*;

    fn log(events: &[(&str, u64, &str, u64)]) -> Log {
        let lines: Vec<_> = events
            .iter()
            .map(|(key, time, value, epoch)| {
                format!(
                    ":::MLLOG {{\"time_ms\": {time}, \"key\": \"{key}\", \"value\": {value}, \
                     \"metadata\": {{\"epoch_num\": {epoch}}}}}"
                )
            })
            .collect();
        Log::parse(lines.join("\n").as_bytes())
    }

    fn watched(log: &Log) -> Course {
        let mut stopwatch = Stopwatch::default();
        for record in &log.records {
            stopwatch.read(Key::named(&record.key), record);
        }
        stopwatch.finish()
    }

    fn timed(log: &Log) -> Option<RunTiming> {
        watched(log).timing
    }

    #[test]
    fn time_is_split_between_epochs_evaluations_and_gaps() {
        let log = log(&[
            ("run_start", 0, "null", 0),
            ("epoch_start", 1_000, "null", 1),
            ("epoch_stop", 41_000, "null", 1),
            ("eval_start", 41_000, "null", 1),
            ("eval_stop", 51_000, "null", 1),
            ("epoch_start", 60_000, "null", 2),
            ("epoch_stop", 80_000, "null", 2),
            ("epoch_start", 80_000, "null", 3),
            ("epoch_stop", 100_000, "null", 3),
            ("run_stop", 100_000, "null", 0),
        ]);
        let timing = timed(&log).unwrap();
        let close = |fraction: Option<f64>, wanted: f64| (fraction.unwrap() - wanted).abs() < 1e-12;
        assert!(close(timing.later_epoch_s(), 20.0), "{timing:?}");
        assert!(close(timing.first_epoch_fraction(), 0.2), "{timing:?}");
        assert!(close(timing.eval_fraction(), 0.1), "{timing:?}");
        assert!(close(timing.gap_fraction(), 0.1), "{timing:?}");
    }

    #[test]
    fn epochs_are_kept_with_their_numbers() {
        let log = log(&[
            ("epoch_start", 0, "null", 1),
            ("epoch_stop", 9_000, "null", 1),
            ("run_start", 10_000, "null", 0),
            ("epoch_start", 11_000, "null", 1),
            ("epoch_stop", 41_000, "null", 1),
            ("epoch_stop", 42_000, "null", 1),
            ("epoch_start", 50_000, "null", 2),
        ]);
        let Course { start_ms, epochs, .. } = watched(&log);
        assert_eq!(start_ms, Some(10_000.0));
        assert_eq!(epochs.len(), 1, "{epochs:?}");
        assert!((epochs[0].seconds() - 30.0).abs() < 1e-12);
        assert_eq!(epochs[0].epoch.to_bits(), 1.0f64.to_bits());
    }

    #[test]
    fn the_last_start_before_the_first_stop_counts() {
        let log = log(&[
            ("run_start", 0, "null", 0),
            ("run_start", 60_000, "null", 0),
            ("run_stop", 180_000, "null", 0),
            ("run_start", 190_000, "null", 0),
            ("run_stop", 999_000, "null", 0),
        ]);
        let timing = timed(&log).unwrap();
        assert!((timing.minutes - 2.0).abs() < 1e-12, "{timing:?}");
    }

    #[test]
    fn a_run_without_an_end_has_no_time() {
        assert_eq!(timed(&log(&[("run_start", 0, "null", 0)])), None);
    }

    #[test]
    fn the_curve_ends_with_the_clock() {
        let log = log(&[
            ("eval_accuracy", 1, "0.5", 4),
            ("eval_accuracy", 2, "\"0.6\"", 8),
            ("eval_accuracy", 3, "0.7", 12),
            ("run_stop", 4, "null", 0),
            ("eval_accuracy", 5, "0.8", 16),
        ]);
        let curve = watched(&log).curve;
        assert_eq!(curve.points.len(), 2);
        let last = curve.last().unwrap();
        assert!((last.position - 12.0).abs() < 1e-12 && (last.accuracy - 0.7).abs() < 1e-12);
    }
}
