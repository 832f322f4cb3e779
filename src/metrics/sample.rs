//! One measurement, which is one line of `metrics.jsonl`.

use serde::{Deserialize, Serialize};

use crate::mlperf::RunStatus;

/// What a sample measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Some steps, about 20 times in an epoch.
    Steps,
    /// An epoch.
    Epoch,
    /// An evaluation.
    Evaluation,
    /// The end of the run.
    End,
}

/// One measurement. What is absent was not measured; docs/results.md describes the members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What it measures.
    pub kind: Kind,
    /// Steps since the start of training.
    pub step: usize,
    /// Epoch, from 1.
    pub epoch: usize,
    /// Minutes since `run_start`, by the launcher's clock. Absent for what an interrupted run measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// Training images since the start of training, over all ranks.
    pub samples: usize,
    /// The values, by name.
    #[serde(flatten)]
    pub values: Values,
    /// How the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
}

/// The values of a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Values {
    /// Mean training loss on rank 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Top-1 accuracy, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Images per second over all ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_s: Option<f64>,
    /// Learning rate of the last step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Size of the training images, px.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<f64>,
    /// Length of the epoch or the evaluation, s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Fraction of the time in which rank 0 waited for data, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_wait: Option<f64>,
    /// Seconds in which rank 0 waited for images being read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_wait_s: Option<f64>,
    /// Seconds in which rank 0 waited for images being decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_wait_s: Option<f64>,
    /// Seconds in which rank 0 copied batches to its device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_wait_s: Option<f64>,
}

impl Sample {
    /// A line of JSON, with its end.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("numbers and words are JSON");
        line.push('\n');
        line
    }

    /// The values that were measured, with their names and what they are.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
        let values = &self.values;
        let named = [
            ("loss", "Mean training loss on rank 0", values.loss),
            ("accuracy", "Top-1 accuracy, 0 to 1", values.accuracy),
            ("images_per_s", "Images per second over all ranks", values.images_per_s),
            ("learning_rate", "Learning rate of the last step", values.learning_rate),
            ("image_size", "Size of the training images in pixels", values.image_size),
            ("seconds", "Length of the last epoch or evaluation", values.seconds),
            ("data_wait", "Fraction of the time in which rank 0 waited for data", values.data_wait),
            ("io_wait_s", "Seconds of waiting for reading", values.io_wait_s),
            ("decode_wait_s", "Seconds of waiting for decoding", values.decode_wait_s),
            ("copy_wait_s", "Seconds of copying to the device", values.copy_wait_s),
        ];
        named.into_iter().filter_map(|(name, help, value)| Some((name, help, value?)))
    }
}
