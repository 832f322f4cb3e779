//! Alternating flip: flips an image at random in the first epoch and in every other epoch after that,
//! so that two epochs in a row show both of its orientations and neither twice.
//!
//! Source: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498. The loader
//! flips: in the first epoch with the probability `data.train.hflip`, drawn by seed and image alone, so
//! that neither rank nor batch nor a resumed run changes it. Suggested: with light crops
//! (`data.train.scale` from 0.25 or above) and few epochs. Trade-off: costs nothing. The paper measures
//! gains on CIFAR-10, and on `ImageNet` with `ResNet-18` only where crops are light; no `ResNet-50` result
//! is published, and we have none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::Method;
use crate::{
    data::{DataConfig, Flip},
    problems::Problems,
};

/// `[algorithms.alternating_flip]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlternatingFlip {}

impl Method for AlternatingFlip {
    fn check(&self, data: &DataConfig, problems: &mut Problems) {
        let hflip = data.train.hflip;
        if [0.0, 1.0].contains(&hflip) {
            problems.add(format!(
                "algorithms.alternating_flip flips at random in the first epoch, and data.train.hflip \
                 ({hflip}) leaves nothing to chance; set it to 0.5 or remove the table"
            ));
        }
    }

    fn change_data(&self, data: &mut DataConfig) {
        data.train.flip = Flip::Alternating;
    }
}
