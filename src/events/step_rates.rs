//! Results of benchmarking the training step: one line of JSON per image size.

use serde::{Deserialize, Serialize};

/// Benchmark results of the training step for one image size, on one rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRates {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Size of the training images, px.
    #[serde(rename = "side")]
    pub image_size: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Timed steps.
    pub num_steps: usize,
    /// Images per second, from the median step.
    pub images_per_s: f64,
    /// Fastest, median and slowest step, ms, from bytes on the host to updated weights. GPU steps
    /// are timed in groups of five.
    pub step_ms: [f64; 3],
    /// Loss of the last timed step. For noise images it is the same in every run.
    pub loss: f64,
    /// Whether the steps were replayed from a CUDA graph.
    #[serde(rename = "recorded")]
    pub captured: bool,
    /// On a GPU, why the step was not captured, or not as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "not_recorded")]
    pub not_captured: Option<String>,
    /// Whether the network ran on fused kernels.
    pub fused: bool,
    /// Why it did not, although the recipe asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_fused: Option<String>,
    /// Median durations of the phases of an uncaptured step. Each phase is synchronized, so their
    /// sum exceeds the duration of a step.
    pub parts_ms: StepParts,
    /// Fraction of the step time spent waiting for images, 0 to 1; absent for noise images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_wait: Option<f64>,
    /// Images per second of evaluation: decoded images of the data set, or noise.
    pub eval_images_per_s: f64,
    /// Arithmetic of forward and backward, TFLOP/s, from the median step.
    pub tflops: f64,
    /// Throughput of a square matrix product in the same number format, TFLOP/s.
    pub matmul_tflops: f64,
    /// The least memory traffic that a step can have layer by layer, GB/s, from the median step:
    /// the output of each convolution and norm is written once and read once forward and once
    /// backward, and its gradient is written and read once.
    pub traffic_gb_s: f64,
    /// Throughput of copying a large tensor, bytes read plus bytes written, GB/s.
    pub copy_gb_s: f64,
    /// Peak resident memory of the process so far, MB.
    pub peak_host_mb: f64,
    /// Peak GPU memory of the process so far, MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_gpu_mb: Option<f64>,
}

impl StepRates {
    /// One line of JSON, without the line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings are JSON")
    }

    /// Parses a line of [`StepRates::to_line`]; `None` for any other output of a rank.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// The phases of a step, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepParts {
    /// Copying the bytes to the device and normalizing them.
    pub upload: f64,
    /// Methods that change the batch, forward pass and loss.
    pub forward: f64,
    /// Backward pass, with the averaging over ranks.
    pub backward: f64,
    /// Optimizer update, and methods that follow it.
    pub update: f64,
}
