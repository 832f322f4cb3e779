//! The events and their JSON form.

use crate::mlperf::RunStatus;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Activity, Spent};

/// An event of a rank. Epochs and steps count from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum RankEvent {
    /// The rank has built and warmed up everything that it may before the clock starts.
    Ready {
        /// The rank.
        rank: usize,
        /// `cpu` or `cuda:N`.
        device: String,
        /// CPU threads of this rank.
        num_threads: usize,
        /// Trainable parameters of the model.
        num_params: usize,
    },
    /// The clock has started.
    RunStart {
        /// Milliseconds since the Unix epoch, as in the MLPerf log.
        time_ms: u64,
        /// Training images.
        num_train: usize,
        /// Validation images.
        num_eval: usize,
        /// Maximum number of epochs.
        num_epochs: usize,
        /// Steps per epoch.
        steps_per_epoch: usize,
        /// Images per step, over all ranks.
        batch_size: usize,
        /// Target accuracy, which the run must exceed.
        target: f64,
    },
    /// Progress within an epoch, at most a few times per second.
    Steps {
        /// Epoch.
        epoch: usize,
        /// Completed steps of this epoch.
        step: usize,
        /// Mean loss of the steps since the last such event.
        loss: f64,
        /// Images per second over all ranks since the last such event.
        images_per_s: f64,
        /// How rank 0 spent its time since the last such event.
        #[serde(default)]
        time: Spent,
    },
    /// A training epoch has ended.
    EpochStop {
        /// Epoch.
        epoch: usize,
        /// Mean training loss of the epoch on rank 0.
        loss: f64,
        /// Seconds of training, without evaluation.
        train_s: f64,
        /// Images per second over all ranks, without evaluation.
        images_per_s: f64,
        /// Fraction of the training time in which rank 0 waited for data, 0 to 1.
        data_wait: f64,
        /// How rank 0 spent its time in the epoch.
        #[serde(default)]
        time: Spent,
        /// Size of the training images, px.
        #[serde(rename = "side")]
        image_size: usize,
    },
    /// An evaluation has ended.
    Evaluated {
        /// The epoch before the evaluation.
        epoch: usize,
        /// Top-1 accuracy, 0 to 1.
        accuracy: f64,
        /// Correctly classified images, over all ranks.
        num_right: u64,
        /// Evaluated images, over all ranks.
        num_images: u64,
        /// Duration in seconds.
        eval_s: f64,
        /// The part of it in which batch norm's statistics were retaken, in seconds.
        #[serde(default)]
        statistics_s: f64,
    },
    /// The rank is alive. Sent every second, to the launcher only.
    Alive {
        /// The rank.
        rank: usize,
        /// What it does.
        activity: Activity,
        /// Steps made and batches evaluated since it started.
        num_steps: usize,
    },
    /// Rank 0's part of a checkpoint is on the disk.
    Checkpoint {
        /// Updates made before it.
        step: usize,
    },
    /// Something is suboptimal, but the run continues.
    Warning {
        /// The problem and its fix.
        message: String,
    },
    /// An image that could not be decoded was skipped (`on_bad_image = "skip"`).
    BadImage {
        /// The rank.
        rank: usize,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The clock has stopped.
    RunStop {
        /// How it ended.
        status: RunStatus,
        /// Completed epochs.
        epoch: usize,
        /// Last accuracy, 0 to 1; absent if there was no evaluation.
        accuracy: Option<f64>,
        /// Minutes from `run_start` to `run_stop`.
        minutes: f64,
        /// Images per second of training, over all ranks.
        images_per_s: f64,
        /// Fraction of the training time after the first epoch in which rank 0 waited for data.
        data_wait: f64,
        /// The part of this fraction that is due to reading; the rest is due to decoding.
        #[serde(default)]
        io_wait: f64,
        /// What rank 0 waited for and how to fix it, in words; absent if waits are negligible.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_verdict: Option<String>,
        /// How rank 0 spent its time in all epochs.
        #[serde(default)]
        time: Spent,
    },
    /// A rank other than 0 has finished training; the same values for that rank.
    RankStop {
        /// The rank.
        rank: usize,
        /// Fraction of the training time after the first epoch in which it waited for data.
        data_wait: f64,
        /// The part of this fraction that is due to reading; the rest is due to decoding.
        io_wait: f64,
        /// What it waited for and how to fix it, in words; absent if waits are negligible.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_verdict: Option<String>,
        /// How it spent its time in all epochs.
        time: Spent,
    },
    /// The rank cannot continue.
    Failed {
        /// The rank that failed.
        rank: usize,
        /// The kind of failure.
        kind: FailureKind,
        /// One sentence that ends with the fix.
        message: String,
    },
}

/// The origin of a failure. It decides the exit code, and which of several failures is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The recipe, the data or the machine is unsuitable: exit code 3.
    Input,
    /// The rank itself failed: exit code 6.
    Internal,
    /// Another rank disappeared; that rank's failure is the one to show.
    Peer,
    /// A signal asked it to stop: exit code 7.
    Interrupted,
}

impl RankEvent {
    /// The event as one line of JSON, without the line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("all keys of an event are strings")
    }

    /// Parses a line of [`RankEvent::to_line`]; `None` for any other output of a rank.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_round_trip_through_json() {
        let event = RankEvent::RunStop {
            status: RunStatus::Success,
            epoch: 27,
            accuracy: Some(0.7615),
            minutes: 23.8,
            images_per_s: 32_500.0,
            data_wait: 0.01,
            io_wait: 0.002,
            data_verdict: Some("waits".to_owned()),
            time: Spent { io_wait_s: 2.0, compute_s: 1426.0, ..Spent::default() },
        };
        assert_eq!(RankEvent::from_line(&event.to_line()), Some(event));
        assert_eq!(RankEvent::from_line("[W] some warning of a library"), None);
    }

    #[test]
    fn events_without_time_data_from_old_versions_are_still_read() {
        let old = r#"{"event":"steps","epoch":1,"step":5,"loss":2.5,"images_per_s":800.0}"#;
        let Some(RankEvent::Steps { step: 5, time, .. }) = RankEvent::from_line(old) else {
            panic!("not read")
        };
        assert_eq!(time, Spent::default());
    }
}
