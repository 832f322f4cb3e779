//! Resolution ramp: crops grow from one size to another late in the run.
//!
//! Source: FFCV's ResNet-50 training (Leclerc et al. 2022, section 5):
//! `image_size = round(lerp(epoch; start_ramp..end_ramp; min_res..max_res) / increment) increment`,
//! halves to even; the loader makes the crop at that size. Suggested: 160 to 192 px, the ramp over
//! the last third but a few epochs. Trade-off: like progressive resizing, with larger first images,
//! it saves less and loses less accuracy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::{ImageSizes, Method, refuse_changing_crops};
use crate::{data::DataConfig, problems::Problems};

/// `[algorithms.resolution]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resolution {
    /// First image size, px.
    pub min_res: usize,
    /// Last image size, px.
    pub max_res: usize,
    /// Last epoch, from 0, at the first size.
    pub start_ramp: usize,
    /// First epoch, from 0, at the last size.
    pub end_ramp: usize,
    /// Image sizes are multiples of it, px.
    pub increment: usize,
}

impl Default for Resolution {
    fn default() -> Self {
        Self { min_res: 160, max_res: 192, start_ramp: 11, end_ramp: 14, increment: 32 }
    }
}

impl Resolution {
    /// Size of the training images in `epoch`, from 0, px.
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

impl Method for Resolution {
    fn check(&self, data: &DataConfig, problems: &mut Problems) {
        refuse_changing_crops("resolution", data, problems);
        let Self { min_res, max_res, start_ramp, end_ramp, increment } = *self;
        problems.image_size("algorithms.resolution.max_res", max_res);
        problems.one_or_more("algorithms.resolution.min_res", min_res);
        problems.one_or_more("algorithms.resolution.increment", increment);
        if min_res > max_res || start_ramp > end_ramp {
            problems.add(format!(
                "algorithms.resolution must rise from min_res ({min_res}) to max_res ({max_res}) \
                 between start_ramp ({start_ramp}) and end_ramp ({end_ramp}); exchange what falls"
            ));
        }
    }

    fn image_sizes(&self, _crop_size: usize, num_epochs: usize) -> Option<ImageSizes> {
        let sizes: Vec<usize> = (0..num_epochs).map(|epoch| self.image_size(epoch)).collect();
        Some(ImageSizes { loaded: sizes.clone(), trained: sizes })
    }
}
