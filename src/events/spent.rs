//! Where the time of training went.

use serde::{Deserialize, Serialize};

/// Seconds that the host of one rank spent on steps; the four add up to all of them. A GPU works
/// while its host goes on: that the host waits for a GPU counts as `compute_s`, and what the GPU
/// does meanwhile is not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spent {
    /// It waited for a batch whose images were being read.
    pub io_wait_s: f64,
    /// It waited for a batch whose images were being decoded.
    pub decode_wait_s: f64,
    /// It moved batches to the device, or waited for room there.
    pub copy_wait_s: f64,
    /// All else: the steps themselves.
    pub compute_s: f64,
}

impl Spent {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            io_wait_s: self.io_wait_s + other.io_wait_s,
            decode_wait_s: self.decode_wait_s + other.decode_wait_s,
            copy_wait_s: self.copy_wait_s + other.copy_wait_s,
            compute_s: self.compute_s + other.compute_s,
        }
    }

    /// Seconds without a batch to train on.
    pub fn data_wait_s(&self) -> f64 {
        self.io_wait_s + self.decode_wait_s
    }
}
