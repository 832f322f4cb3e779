//! Resolution ramp: crops grow from one side to another late in the run.
//!
//! Source: FFCV's ResNet-50 training (Leclerc et al. 2022, section 5):
//! `image_size = round(lerp(epoch; start_ramp..end_ramp; min_res..max_res) / increment) increment`,
//! halves to even; the crop itself is made at that side. Suggested: 160 to 192 px, the ramp over
//! the last third but a few epochs. Trade-off: as progressive resizing, with larger first images:
//! less saved, less accuracy lost.

use serde::{Deserialize, Serialize};

/// `[algorithms.resolution]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resolution {
    /// First side, px.
    pub min_res: usize,
    /// Last side, px.
    pub max_res: usize,
    /// Last epoch, from 0, at the first side.
    pub start_ramp: usize,
    /// First epoch, from 0, at the last side.
    pub end_ramp: usize,
    /// Sides are multiples of it, px.
    pub increment: usize,
}

impl Default for Resolution {
    fn default() -> Self {
        Self { min_res: 160, max_res: 192, start_ramp: 11, end_ramp: 14, increment: 32 }
    }
}

impl Resolution {
    /// Side of the training images in `epoch`, from 0, px.
    pub fn image_size(&self, epoch: usize) -> usize {
        if epoch <= self.start_ramp {
            return self.min_res;
        }
        if epoch >= self.end_ramp {
            return self.max_res;
        }
        let done = (epoch - self.start_ramp) as f64 / (self.end_ramp - self.start_ramp) as f64;
        let image_size = self.min_res as f64 + (self.max_res as f64 - self.min_res as f64) * done;
        let increment = self.increment as f64;
        ((image_size / increment).round_ties_even() * increment) as usize
    }
}
