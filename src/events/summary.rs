//! What a run amounts to: its events folded into the figures that people compare.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{RankEvent, RunStatus};

/// `summary.json` of a run, and a line of the closing table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSummary {
    /// Recipe, as it was asked for.
    pub recipe: String,
    /// Seed of the run.
    pub seed: u64,
    /// How it ended; absent when the clock never stood.
    pub status: Option<RunStatus>,
    /// Minutes from `run_start` to `run_stop`.
    pub minutes: Option<f64>,
    /// Epochs done.
    pub num_epochs: usize,
    /// Last accuracy, 0 to 1.
    pub accuracy: Option<f64>,
    /// Images trained per second of training, over all ranks.
    pub images_per_s: Option<f64>,
    /// Share of the training time after the first epoch in which rank 0 waited for data.
    pub data_wait: Option<f64>,
    /// Pictures that could not be decoded and were left out, counted each time they came up.
    pub num_skipped: usize,
    /// What the log check says; absent where there is no log to check.
    pub log_check: Option<LogCheck>,
    /// The log, under the name that submissions take.
    pub result: Option<PathBuf>,
}

/// Verdict on a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCheck {
    /// The ruleset that was applied.
    pub ruleset: String,
    /// Whether the log passes.
    pub accepted: bool,
    /// What was found, warnings included.
    pub findings: Vec<String>,
}

impl RunSummary {
    /// An empty summary of a run that is about to start.
    pub fn new(recipe: &str, seed: u64) -> Self {
        Self { recipe: recipe.to_owned(), seed, ..Self::default() }
    }

    /// Takes in one event of any rank.
    pub fn hear(&mut self, event: &RankEvent) {
        match event {
            RankEvent::EpochStop { epoch, .. } => self.num_epochs = *epoch,
            RankEvent::Evaluated { accuracy, .. } => self.accuracy = Some(*accuracy),
            RankEvent::BadImage { .. } => self.num_skipped += 1,
            RankEvent::RunStop { status, epoch, accuracy, minutes, images_per_s, data_wait } => {
                self.status = Some(*status);
                self.num_epochs = *epoch;
                self.accuracy = *accuracy;
                self.minutes = Some(*minutes);
                self.images_per_s = Some(*images_per_s);
                self.data_wait = Some(*data_wait);
            }
            RankEvent::Ready { .. }
            | RankEvent::RunStart { .. }
            | RankEvent::Steps { .. }
            | RankEvent::Failed { .. } => {}
        }
    }

    /// Minutes to the target; `None` when it was not reached.
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
    fn every_skipped_picture_of_every_rank_counts() {
        let mut summary = RunSummary::default();
        for rank in [0, 1, 1] {
            let (path, reason) = ("a.jpg".into(), "no JPEG".to_owned());
            summary.hear(&RankEvent::BadImage { rank, path, reason });
        }
        assert_eq!(summary.num_skipped, 3);
    }

    #[test]
    fn a_summary_survives_its_json() {
        let mut summary = RunSummary::new("demo", 17);
        summary.hear(&run_stop(RunStatus::Success));
        let findings = vec!["a warning".to_owned()];
        summary.log_check =
            Some(LogCheck { ruleset: "4.0.0".to_owned(), accepted: true, findings });
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<RunSummary>(&text).unwrap(), summary);
    }
}
