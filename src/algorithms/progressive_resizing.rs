//! Progressive resizing: trains on small images first and on full-sized ones last, because the
//! first epochs learn what small images show just as well.
//!
//! Source: Howard 2018 (the fast.ai entry to `DAWNBench`); like Composer 0.7.0. With f the fraction
//! of the run that is done, `r = clamp((f - delay) / (1 - delay - finetune), 0, 1)` and
//! `image_size = round(crop (initial + (1 - initial) r) / increment) increment`, halves to even; f
//! changes between epochs only. Suggested: all defaults. Trade-off: saves about half of the
//! arithmetic of a run for a few tenths of a point of accuracy; the faster steps need more images
//! a second from the loader. `device-nearest` makes every crop at full size and drops pixels on
//! the device, as submitted; `decoder` makes the crop at the size that the network sees, which is
//! cheaper and does not alias.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[cfg(feature = "torch")]
use tch::Tensor;

use super::method::{ImageSizes, Method, refuse_changing_crops};
use crate::{data::DataConfig, problems::Problems};

/// Keeps of images `[N, C, S, S]` of any kind the pixels nearest to a grid of `image_size`:
/// `[N, C, image_size, image_size]`. Pixel `i` comes from `floor(fp32(i) fp32(S / image_size))`,
/// as in torch.
#[cfg(feature = "torch")]
pub fn resize_nearest(images: &Tensor, image_size: usize) -> Tensor {
    let scale = image_size as f64 / images.size()[3] as f64;
    images.upsample_nearest2d([image_size as i64; 2], scale, scale)
}

/// `[algorithms.progressive_resizing]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProgressiveResizing {
    /// First image size, as a fraction of the crop size.
    pub initial_scale: f64,
    /// Fraction of the run at the first size.
    pub delay_fraction: f64,
    /// Fraction of the run at the full size.
    pub finetune_fraction: f64,
    /// Image sizes are multiples of it, px.
    pub size_increment: usize,
    /// Where images are made smaller.
    pub resize_on: ResizeOn,
}

/// Where images are made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeOn {
    /// On the device, by dropping pixels.
    DeviceNearest,
    /// In the loader, when the crop is made.
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
    /// Size of the training images, px, when `fraction` (0 to 1) of the run is done.
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
}

impl Method for ProgressiveResizing {
    fn check(&self, data: &DataConfig, problems: &mut Problems) {
        const NAME: &str = "algorithms.progressive_resizing";
        let Self { initial_scale, delay_fraction, finetune_fraction, size_increment, .. } = *self;
        problems.above_zero(&format!("{NAME}.initial_scale"), initial_scale);
        problems.zero_to_one(&format!("{NAME}.delay_fraction"), delay_fraction);
        problems.zero_to_one(&format!("{NAME}.finetune_fraction"), finetune_fraction);
        problems.one_or_more(&format!("{NAME}.size_increment"), size_increment);
        if delay_fraction + finetune_fraction > 1.0 {
            problems.add(format!(
                "{NAME}: delay_fraction ({delay_fraction}) and finetune_fraction \
                 ({finetune_fraction}) are more than the whole run; lower one of them"
            ));
        }
        refuse_changing_crops("progressive_resizing", data, problems);
        let Some(crop_size) = data.train.crop_size.always() else { return };
        if initial_scale >= 1.0 {
            problems.add(format!(
                "{NAME} changes nothing: initial_scale ({initial_scale}) is the full size; lower \
                 it or remove the table"
            ));
        } else if initial_scale > 0.0 && size_increment > 0 && self.image_size(crop_size, 0.0) == 0
        {
            problems.add(format!(
                "{NAME}: initial_scale ({initial_scale}) of a crop of {crop_size} px, in multiples \
                 of {size_increment}, is 0 px; raise initial_scale or lower size_increment"
            ));
        }
    }

    fn image_sizes(&self, crop_size: usize, num_epochs: usize) -> Option<ImageSizes> {
        let size = |epoch| self.image_size(crop_size, epoch as f64 / num_epochs as f64);
        let trained: Vec<usize> = (0..num_epochs).map(size).collect();
        let loaded = match self.resize_on {
            ResizeOn::DeviceNearest => vec![crop_size; num_epochs],
            ResizeOn::Decoder => trained.clone(),
        };
        Some(ImageSizes { loaded, trained })
    }
}
