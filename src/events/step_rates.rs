//! What a measurement of the training step tells: one line of JSON a side.

use serde::{Deserialize, Serialize};

/// The training step at one side of the images, on one rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRates {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Side of the training images, px.
    #[serde(rename = "side")]
    pub image_size: usize,
    /// Images in a step.
    pub batch_size: usize,
    /// Steps that the clock counted.
    pub num_steps: usize,
    /// By the median step.
    pub images_per_s: f64,
    /// Fastest, median and slowest step, from bytes on the host to changed weights, ms. A GPU's steps
    /// are timed five at a time.
    pub step_ms: [f64; 3],
    /// Loss of the last of these steps, which on images of noise does not depend on the machine's
    /// mood.
    pub loss: f64,
    /// Whether these steps were recorded once and replayed.
    #[serde(rename = "recorded")]
    pub captured: bool,
    /// Why not, or not whole, on a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "not_recorded")]
    pub not_captured: Option<String>,
    /// Median parts of a step that is not recorded, each waited for by itself, so that their sum is
    /// more than a step's.
    pub parts_ms: StepParts,
    /// Share of the steps' time that was waiting for images, 0 to 1; absent where they were noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_wait: Option<f64>,
    /// Images judged in a second of evaluation: those of the data set, decoded, else noise.
    pub eval_images_per_s: f64,
    /// Arithmetic of forward and backward, TFLOP/s, by the median step.
    pub tflops: f64,
    /// What a product of two square matrices reaches in the same number format, TFLOP/s.
    pub matmul_tflops: f64,
    /// The least memory traffic that a step can have layer by layer, GB/s, by the median step: what
    /// comes out of each convolution and of each norm is written once and read once forward and once
    /// backward, and so is its gradient, written and read once.
    pub traffic_gb_s: f64,
    /// What a copy of a large tensor reaches, read and written bytes together, GB/s.
    pub copy_gb_s: f64,
    /// Largest resident memory of the process so far, MB.
    pub peak_host_mb: f64,
    /// Largest memory of the GPU that the process held so far, MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_gpu_mb: Option<f64>,
}

impl StepRates {
    /// As one line of JSON, without the line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("numbers and words are JSON")
    }

    /// Reads back a line of [`StepRates::to_line`]; `None` for anything else that a rank prints.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// Parts of a step, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepParts {
    /// Bytes to the device, and their normalisation.
    pub upload: f64,
    /// Methods that change the batch, network and loss.
    pub forward: f64,
    /// Gradients, and their means over ranks.
    pub backward: f64,
    /// Optimizer, and methods that follow it.
    pub update: f64,
}
