//! What a log says about time and accuracy.

use super::parse::Log;
use super::value::Value;

/// The timed part of a run, as the reference summarizer takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunTiming {
    /// `run_start`, ms since the Unix epoch.
    pub start_ms: f64,
    /// `run_stop`, ms since the Unix epoch.
    pub stop_ms: f64,
    /// Minutes between the two; negative if the log's clock says so.
    pub minutes: f64,
}

impl RunTiming {
    /// Reads until both ends are known: of several `run_start` before the first `run_stop` the last
    /// one counts, and later records are not seen.
    pub fn of(log: &Log) -> Option<Self> {
        let (mut start, mut stop) = (None, None);
        for record in &log.records {
            match record.key.as_str() {
                "run_start" => start = Some(record.time_ms),
                "run_stop" => stop = Some(record.time_ms),
                _ => continue,
            }
            if let (Some(start_ms), Some(stop_ms)) = (start, stop) {
                return Some(Self {
                    start_ms,
                    stop_ms,
                    minutes: (stop_ms - start_ms) / 60.0 / 1000.0,
                });
            }
        }
        None
    }
}

/// Accuracy by epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// In the order of the file.
    pub points: Vec<CurvePoint>,
}

/// One `eval_accuracy`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// `metadata.epoch_num`.
    pub epoch: f64,
    /// Top-1 accuracy, 0 to 1.
    pub accuracy: f64,
    /// ms since the Unix epoch.
    pub time_ms: f64,
}

impl Curve {
    /// The evaluations before the first `run_stop` that have a number for epoch and accuracy.
    pub fn of(log: &Log) -> Self {
        let timed = log.records.iter().take_while(|record| record.key != "run_stop");
        let points = timed
            .filter(|record| record.key == "eval_accuracy")
            .filter_map(|record| {
                Some(CurvePoint {
                    epoch: record.metadata.get("epoch_num").and_then(Value::as_f64)?,
                    accuracy: record.value.as_f64()?,
                    time_ms: record.time_ms,
                })
            })
            .collect();
        Self { points }
    }

    /// The last evaluation.
    pub fn last(&self) -> Option<CurvePoint> {
        self.points.last().copied()
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_last_start_before_the_first_stop_counts() {
        let log = log(&[
            ("run_start", 0, "null", 0),
            ("run_start", 60_000, "null", 0),
            ("run_stop", 180_000, "null", 0),
            ("run_start", 190_000, "null", 0),
            ("run_stop", 999_000, "null", 0),
        ]);
        let timing = RunTiming::of(&log).unwrap();
        assert!((timing.minutes - 2.0).abs() < 1e-12, "{timing:?}");
    }

    #[test]
    fn a_run_without_an_end_has_no_time() {
        assert_eq!(RunTiming::of(&log(&[("run_start", 0, "null", 0)])), None);
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
        let curve = Curve::of(&log);
        assert_eq!(curve.points.len(), 2);
        let last = curve.last().unwrap();
        assert!((last.epoch - 12.0).abs() < 1e-12 && (last.accuracy - 0.7).abs() < 1e-12);
    }
}
