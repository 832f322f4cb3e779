//! Summarizes the events of a run.

use crate::mlperf::RunStatus;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{RankEvent, Spent};

/// The contents of a run's `summary.json` and of a line of the final table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSummary {
    /// The recipe's name as requested.
    pub recipe: String,
    /// Seed of the run.
    pub seed: u64,
    /// How it ended; absent if it did not log `run_stop`.
    pub status: Option<RunStatus>,
    /// Minutes from `run_start` to `run_stop`.
    pub minutes: Option<f64>,
    /// Completed epochs.
    pub num_epochs: usize,
    /// Last accuracy, 0 to 1.
    pub accuracy: Option<f64>,
    /// Images per second of training, over all ranks.
    pub images_per_s: Option<f64>,
    /// For the rank that waited longest: fraction of the training time after the first epoch in
    /// which it waited for data.
    pub data_wait: Option<f64>,
    /// The part of this fraction that is due to reading.
    pub io_wait: Option<f64>,
    /// What that rank waited for and how to fix it, in words; absent if waits are negligible.
    pub data_verdict: Option<String>,
    /// How that rank spent its time in all epochs.
    pub time: Option<Spent>,
    /// Trainable parameters of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_params: Option<usize>,
    /// Bytes of gradients that a rank sends in a step, with a ring all-reduce; absent for one rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire_bytes_per_step: Option<u64>,
    /// Images that could not be decoded and were skipped, counted each time.
    pub num_skipped: usize,
    /// The result of checking the log; absent if there is no log.
    pub log_check: Option<LogCheck>,
    /// Updates that an interrupted run had made, if this one goes on with it. Its time is no score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_after_step: Option<usize>,
    /// The published log.
    pub result: Option<PathBuf>,
}

/// The verdict on a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCheck {
    /// The ruleset.
    pub ruleset: String,
    /// Whether the log passes.
    pub accepted: bool,
    /// All findings, including warnings.
    pub findings: Vec<String>,
}

impl RunSummary {
    /// An empty summary of a run that is about to start.
    pub fn new(recipe: &str, seed: u64) -> Self {
        Self { recipe: recipe.to_owned(), seed, ..Self::default() }
    }

    /// Adds an event of any rank.
    pub fn hear(&mut self, event: &RankEvent) {
        match event {
            RankEvent::EpochStop { epoch, .. } => self.num_epochs = *epoch,
            RankEvent::Evaluated { accuracy, .. } => self.accuracy = Some(*accuracy),
            RankEvent::BadImage { .. } => self.num_skipped += 1,
            RankEvent::RunStop {
                status,
                epoch,
                accuracy,
                minutes,
                images_per_s,
                data_wait,
                io_wait,
                data_verdict,
                time,
            } => {
                self.status = Some(*status);
                self.num_epochs = *epoch;
                self.accuracy = *accuracy;
                self.minutes = Some(*minutes);
                self.images_per_s = Some(*images_per_s);
                self.hear_waits([*data_wait, *io_wait], data_verdict.as_ref(), time);
            }
            RankEvent::RankStop { data_wait, io_wait, data_verdict, time, .. } => {
                self.hear_waits([*data_wait, *io_wait], data_verdict.as_ref(), time);
            }
            RankEvent::Ready { num_params, .. } => self.num_params = Some(*num_params),
            RankEvent::RunStart { .. }
            | RankEvent::Steps { .. }
            | RankEvent::Checkpoint { .. }
            | RankEvent::Alive { .. }
            | RankEvent::Warning { .. }
            | RankEvent::Failed { .. } => {}
        }
    }

    /// A rank that waits for data blocks all others, so the longest wait counts.
    fn hear_waits(
        &mut self,
        [data_wait, io_wait]: [f64; 2],
        verdict: Option<&String>,
        time: &Spent,
    ) {
        if self.time.is_none_or(|longest| time.data_wait_s() > longest.data_wait_s()) {
            (self.data_wait, self.io_wait) = (Some(data_wait), Some(io_wait));
            self.data_verdict = verdict.cloned();
            self.time = Some(*time);
        }
    }

    /// Minutes to the target; `None` if the run did not reach it.
    pub fn minutes_to_target(&self) -> Option<f64> {
        self.minutes.filter(|_| self.status == Some(RunStatus::Success))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_stop(status: RunStatus) -> RankEvent {
        RankEvent::RunStop {
            status,
            epoch: 3,
            accuracy: Some(0.77),
            minutes: 2.5,
            images_per_s: 800.0,
            data_wait: 0.01,
            io_wait: 0.0,
            data_verdict: None,
            time: Spent::default(),
        }
    }

    #[test]
    fn only_a_run_that_reached_the_target_has_minutes_to_it() {
        let mut summary = RunSummary::new("demo", 17);
        summary.hear(&run_stop(RunStatus::Aborted));
        assert_eq!((summary.minutes, summary.minutes_to_target()), (Some(2.5), None));
        summary.hear(&run_stop(RunStatus::Success));
        assert_eq!(summary.minutes_to_target(), Some(2.5));
    }

    #[test]
    fn the_summary_has_the_rank_that_waited_longest() {
        let mut summary = RunSummary::default();
        for (rank, io_wait_s) in [(2, 3.0), (1, 9.0), (3, 0.0)] {
            summary.hear(&RankEvent::RankStop {
                rank,
                data_wait: io_wait_s / 20.0,
                io_wait: io_wait_s / 30.0,
                data_verdict: (io_wait_s > 0.0).then(|| format!("rank {rank} waits")),
                time: Spent { io_wait_s, ..Spent::default() },
            });
            summary.hear(&run_stop(RunStatus::Success));
        }
        assert_eq!((summary.data_wait, summary.io_wait), (Some(0.45), Some(0.3)));
        assert_eq!(summary.data_verdict.as_deref(), Some("rank 1 waits"));
        assert_eq!(summary.time.map(|time| time.data_wait_s()), Some(9.0));
    }

    #[test]
    fn every_skipped_image_of_every_rank_counts() {
        let mut summary = RunSummary::default();
        for rank in [0, 1, 1] {
            let (path, reason) = ("a.jpg".into(), "no JPEG".to_owned());
            summary.hear(&RankEvent::BadImage { rank, path, reason });
        }
        assert_eq!(summary.num_skipped, 3);
    }

    #[test]
    fn a_summary_survives_the_round_trip_through_json() {
        let mut summary = RunSummary::new("demo", 17);
        summary.hear(&run_stop(RunStatus::Success));
        let findings = vec!["a warning".to_owned()];
        summary.log_check =
            Some(LogCheck { ruleset: "4.0.0".to_owned(), accepted: true, findings });
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<RunSummary>(&text).unwrap(), summary);
    }
}
