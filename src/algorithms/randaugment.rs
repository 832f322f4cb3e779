//! `RandAugment`: applies a few random operations to each training image, such as rotation, shear,
//! contrast or posterization, because a long run overfits less on images that vary more.
//!
//! Source: Cubuk et al. 2019, "`RandAugment`: Practical automated data augmentation with a reduced search
//! space"; like Composer 0.7.0, or like torchvision with `augmentation_set = "torchvision"`. The loader
//! does it, after crop and flip, at the size of the crop. Bytes equal those of Pillow, by which Composer
//! and torchvision compute; operations are drawn by seed, epoch and image. Suggested: `depth = 1` and
//! `severity = 10` for runs of 240 epochs or more, where `MosaicML`'s recipes add it, and none for short
//! ones, which underfit. Trade-off: Composer publishes +0.4 points at 90 epochs and +1.15 at 120. Measured on
//! one core: the default takes 0.10 ms an image at 88 px, 0.4 ms at 176 px and 0.8 ms at 224 px, where reading
//! and decoding take about 1.0 ms; torchvision's set takes 0.03, 0.14 and 0.3 ms, because it reads the
//! nearest pixel. Whether it raises the accuracy of a run has not been measured here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::Method;
use crate::{
    data::{Augmentation, AugmentationSet, DataConfig},
    problems::Problems,
};

/// Most operations on an image: far above any published use.
const MAX_DEPTH: usize = 16;

/// `[algorithms.randaugment]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandAugment {
    /// Operations on an image, one after the other, 1 to 16.
    pub depth: usize,
    /// Strength: 0 to 10, of which each operation draws up to that; 0 to 30 in torchvision's set, and fixed.
    pub severity: usize,
    /// Composer's "all", "safe" (without colour, contrast, brightness, sharpness) and "original" (`AugMix`'s strengths of these four), or "torchvision".
    pub augmentation_set: AugmentationSet,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self { depth: 2, severity: 9, augmentation_set: AugmentationSet::All }
    }
}

impl Method for RandAugment {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        if !(1..=MAX_DEPTH).contains(&self.depth) {
            problems.add(format!(
                "algorithms.randaugment.depth ({}) must be from 1 to {MAX_DEPTH}",
                self.depth
            ));
        }
        let most = self.augmentation_set.max_severity();
        if self.severity > most {
            problems.add(format!(
                "algorithms.randaugment.severity ({}) must be from 0 to {most} in this augmentation_set",
                self.severity
            ));
        }
    }

    fn change_data(&self, data: &mut DataConfig) {
        let Self { depth, severity, augmentation_set: set } = *self;
        data.train.augmentation = Some(Augmentation { depth, severity, set });
    }
}
