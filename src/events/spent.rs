//! How training time was spent.

use serde::{Deserialize, Serialize};

/// How the host of one rank spent its time on steps, in seconds. The four parts add up to the
/// total. A GPU works asynchronously: the host's waits for it count as `compute_s`, and what the
/// GPU does meanwhile is not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spent {
    /// Waiting for a batch whose images were being read.
    pub io_wait_s: f64,
    /// Waiting for a batch whose images were being decoded.
    pub decode_wait_s: f64,
    /// Copying batches to the device, or waiting for a free buffer there.
    pub copy_wait_s: f64,
    /// Everything else: the steps themselves.
    pub compute_s: f64,
}

impl Spent {
    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            io_wait_s: self.io_wait_s + other.io_wait_s,
            decode_wait_s: self.decode_wait_s + other.decode_wait_s,
            copy_wait_s: self.copy_wait_s + other.copy_wait_s,
            compute_s: self.compute_s + other.compute_s,
        }
    }

    /// Seconds spent waiting for a batch.
    pub fn data_wait_s(&self) -> f64 {
        self.io_wait_s + self.decode_wait_s
    }

    /// Fraction of the time spent waiting for a batch, 0 to 1.
    pub fn data_wait_fraction(&self) -> f64 {
        let total_s = self.data_wait_s() + self.copy_wait_s + self.compute_s;
        if total_s > 0.0 { self.data_wait_s() / total_s } else { 0.0 }
    }
}
