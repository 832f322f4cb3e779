//! Progressive resizing: trains on small images first and on full-sized ones last, because the
//! first epochs learn what small images show as well.
//!
//! Source: Howard 2018 (the fast.ai entry to `DAWNBench`); as Composer 0.7.0 has it. With f the share of
//! the run that is done, `r = clamp((f - delay) / (1 - delay - finetune), 0, 1)` and
//! `image_size = round(crop (initial + (1 - initial) r) / increment) increment`, halves to even; f
//! changes between epochs only. Suggested: all defaults. Trade-off: about half of the arithmetic of
//! a run saved for a few tenths of a point of accuracy; the faster steps ask more images a second
//! of the data path. `device-nearest` makes every crop at full size and drops pixels on the
//! device, as submitted; `decoder` makes the crop at the size that the network sees, which is
//! cheaper and does not alias.

use serde::{Deserialize, Serialize};

/// `[algorithms.progressive_resizing]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgressiveResizing {
    /// First side, as a share of the crop.
    pub initial_scale: f64,
    /// Share of the run at the first side.
    pub delay_fraction: f64,
    /// Share of the run at the full side.
    pub finetune_fraction: f64,
    /// Sides are multiples of it, px.
    pub size_increment: usize,
    /// Where images become small.
    pub resize_on: ResizeOn,
}

/// Where images become small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeOn {
    /// On the device, by dropping pixels.
    DeviceNearest,
    /// When the crop is made.
    Decoder,
}

impl Default for ProgressiveResizing {
    fn default() -> Self {
        Self {
            initial_scale: 0.5,
            delay_fraction: 0.4,
            finetune_fraction: 0.2,
            size_increment: 4,
            resize_on: ResizeOn::DeviceNearest,
        }
    }
}

impl ProgressiveResizing {
    /// Side of the training images, px, when `fraction` (0 to 1) of the run is done.
    pub fn image_size(&self, crop_size: usize, fraction: f64) -> usize {
        let ramp = 1.0 - self.delay_fraction - self.finetune_fraction;
        let done = match fraction - self.delay_fraction {
            late if late < 0.0 => 0.0,
            late if late >= ramp => 1.0,
            late => late / ramp,
        };
        let scale = self.initial_scale + (1.0 - self.initial_scale) * done;
        if scale >= 1.0 {
            return crop_size;
        }
        let increment = self.size_increment as f64;
        let image_size = (crop_size as f64 * scale / increment).round_ties_even() * increment;
        (image_size as usize).min(crop_size)
    }

    /// Side by epoch, px; index 0 is epoch 1.
    pub fn image_sizes(&self, crop_size: usize, num_epochs: usize) -> Vec<usize> {
        let image_size = |epoch| self.image_size(crop_size, epoch as f64 / num_epochs as f64);
        (0..num_epochs).map(image_size).collect()
    }
}

#[cfg(feature = "torch")]
pub(super) use resizing::Resizing;
#[cfg(feature = "torch")]
pub use resizing::resize_nearest;

#[cfg(feature = "torch")]
mod resizing {
    use tch::Tensor;

    use super::super::algorithm::{Algorithm, Batch, Progress, SampleLosses};
    use crate::libtorch::BridgeError;

    /// Keeps of the images `[N, C, S, S]` the pixels nearest to a grid of `image_size`:
    /// `[N, C, image_size, image_size]`. Pixel `i` comes from `floor(fp32(i) fp32(S / image_size))`, as torch.
    pub fn resize_nearest(images: &Tensor, image_size: usize) -> Tensor {
        let scale = image_size as f64 / images.size()[3] as f64;
        images.upsample_nearest2d([image_size as i64; 2], scale, scale)
    }

    /// Makes batches as small as their epoch wants them.
    pub(in crate::algorithms) struct Resizing {
        image_sizes: Vec<usize>,
    }

    impl Resizing {
        pub(in crate::algorithms) fn new(image_sizes: &[usize]) -> Self {
            Self { image_sizes: image_sizes.to_owned() }
        }
    }

    impl Algorithm for Resizing {
        fn before_forward(
            &mut self,
            now: Progress,
            batch: Batch,
            _losses: &SampleLosses,
        ) -> Result<Batch, BridgeError> {
            let image_size = self.image_sizes[now.epoch];
            if batch.images.size()[3] == image_size as i64 {
                return Ok(batch);
            }
            Ok(Batch { images: resize_nearest(&batch.images, image_size), ..batch })
        }
    }
}
