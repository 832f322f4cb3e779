//! The events and their line form.

use crate::mlperf::RunStatus;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Spent;

/// One thing that happened in a rank. Epochs and steps count from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum RankEvent {
    /// The rank has built and warmed up everything that it can before the clock starts.
    Ready {
        /// The rank that speaks.
        rank: usize,
        /// `cpu` or `cuda:N`.
        device: String,
        /// Compute threads of this rank.
        num_threads: usize,
        /// Trainable numbers of the model.
        num_params: usize,
    },
    /// The clock runs.
    RunStart {
        /// Milliseconds since the Unix epoch, as in the MLPerf log.
        time_ms: u64,
        /// Training images.
        num_train: usize,
        /// Validation images.
        num_eval: usize,
        /// Epochs at most.
        num_epochs: usize,
        /// Steps in each epoch.
        steps_per_epoch: usize,
        /// Images in one step, over all ranks.
        batch_size: usize,
        /// Accuracy to exceed.
        target: f64,
    },
    /// Progress within an epoch, some times a second at most.
    Steps {
        /// Epoch.
        epoch: usize,
        /// Steps of this epoch that are done.
        step: usize,
        /// Mean loss of the steps since the last such event.
        loss: f64,
        /// Images per second over all ranks since the last such event.
        images_per_s: f64,
        /// Where rank 0's time went since the last such event.
        #[serde(default)]
        time: Spent,
    },
    /// An epoch of training is done.
    EpochStop {
        /// Epoch.
        epoch: usize,
        /// Mean training loss of the epoch on rank 0.
        loss: f64,
        /// Seconds of training, evaluation not counted.
        train_s: f64,
        /// Images per second over all ranks, evaluation not counted.
        images_per_s: f64,
        /// Share of the training time in which rank 0 waited for data, 0 to 1.
        data_wait: f64,
        /// Where rank 0's time went in the epoch.
        #[serde(default)]
        time: Spent,
        /// Side of the training images, px.
        #[serde(rename = "side")]
        image_size: usize,
    },
    /// The validation images have been judged.
    Evaluated {
        /// Epoch after which it was done.
        epoch: usize,
        /// Top-1 accuracy, 0 to 1.
        accuracy: f64,
        /// Images judged right, over all ranks.
        num_right: u64,
        /// Images judged, over all ranks.
        num_images: u64,
        /// Seconds it took.
        eval_s: f64,
    },
    /// Something is not as it could be, and the run goes on.
    Warning {
        /// What, and what helps.
        message: String,
    },
    /// An image that could not be decoded was left out (`on_bad_image = "skip"`).
    BadImage {
        /// The rank that met it.
        rank: usize,
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The clock stands.
    RunStop {
        /// How it ended.
        status: RunStatus,
        /// Epochs done.
        epoch: usize,
        /// Last accuracy, 0 to 1; absent when nothing was evaluated.
        accuracy: Option<f64>,
        /// Minutes from `run_start` to `run_stop`.
        minutes: f64,
        /// Images trained per second of training, over all ranks.
        images_per_s: f64,
        /// Share of the training time after the first epoch in which rank 0 waited for data.
        data_wait: f64,
        /// The part of it that is put down to reading; the rest is to decoding.
        #[serde(default)]
        io_wait: f64,
        /// What rank 0 waited for and what helps, in words; absent where waits are negligible.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_verdict: Option<String>,
        /// Where rank 0's time went in all epochs.
        #[serde(default)]
        time: Spent,
    },
    /// Another rank than 0 is through, and tells the same of itself.
    RankStop {
        /// The rank that speaks.
        rank: usize,
        /// Share of the training time after the first epoch in which it waited for data.
        data_wait: f64,
        /// The part of it that is put down to reading; the rest is to decoding.
        io_wait: f64,
        /// What it waited for and what helps, in words; absent where waits are negligible.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_verdict: Option<String>,
        /// Where its time went in all epochs.
        time: Spent,
    },
    /// The rank cannot go on.
    Failed {
        /// The rank that failed.
        rank: usize,
        /// Whose fault it is.
        kind: FailureKind,
        /// One sentence with the cure.
        message: String,
    },
}

/// Whose fault a failure is; decides the exit code and which of several failures is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The recipe, the data or the machine does not fit: exit code 3.
    Input,
    /// The rank itself broke: exit code 6.
    Internal,
    /// Another rank went away; that one's failure is the one to show.
    Peer,
    /// A signal asked it to stop: exit code 7.
    Interrupted,
}

impl RankEvent {
    /// The event as one line of JSON, without the line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("an event has only strings for keys")
    }

    /// Reads back a line of [`RankEvent::to_line`]; `None` for anything else that a rank prints.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_its_line_form() {
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
    fn events_of_runs_that_did_not_tell_their_time_are_still_read() {
        let old = r#"{"event":"steps","epoch":1,"step":5,"loss":2.5,"images_per_s":800.0}"#;
        let Some(RankEvent::Steps { step: 5, time, .. }) = RankEvent::from_line(old) else {
            panic!("not read")
        };
        assert_eq!(time, Spent::default());
    }
}
