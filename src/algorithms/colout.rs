//! `ColOut`: drops a few random rows and columns of the images of a batch, which makes them smaller
//! and shifts what is left.
//!
//! Source: Composer 0.7.0, with one draw a batch: `int((1 - p) R)` of R rows and of R columns are
//! kept, in their order. Suggested: 0.15 of each; 0.05 for images that progressive resizing has
//! made small. Trade-off: 28 % fewer pixels a step for about 0.2 points on `ImageNet`; no kernel
//! was tuned for the resulting sizes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[cfg(feature = "torch")]
use tch::Tensor;

use super::method::Method;
#[cfg(feature = "torch")]
use super::{
    algorithm::{Algorithm, Batch, MethodContext, Progress, SampleLosses},
    method_rng::{MethodRng, order},
};
use crate::{data::DataConfig, problems::Problems};
#[cfg(feature = "torch")]
use crate::{data::Rng, libtorch::BridgeError};

/// Drops the fraction `p_row` of the rows and `p_col` of the columns of `images` `[N, C, H, W]`.
#[cfg(feature = "torch")]
pub fn colout(images: &Tensor, config: &ColOut, rng: &mut Rng) -> Tensor {
    let mut images = images.shallow_clone();
    for (dim, fraction) in [(2, config.p_row), (3, config.p_col)] {
        let kept = kept(rng, images.size()[dim] as usize, fraction);
        let kept = Tensor::from_slice(&kept).to_device(images.device());
        images = images.index_select(dim as i64, &kept);
    }
    images
}

/// What is left of 0..length, rising, after a random `fraction` of it is dropped.
#[cfg(feature = "torch")]
fn kept(rng: &mut Rng, length: usize, fraction: f64) -> Vec<i64> {
    let mut kept = order(rng, length);
    kept.truncate(((1.0 - fraction) * length as f64) as usize);
    kept.sort_unstable();
    kept
}

/// `[algorithms.colout]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ColOut {
    /// Fraction of the rows to drop.
    pub p_row: f64,
    /// Fraction of the columns to drop.
    pub p_col: f64,
}

impl Default for ColOut {
    fn default() -> Self {
        Self { p_row: 0.15, p_col: 0.15 }
    }
}

impl Method for ColOut {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        problems.zero_to_below_one("algorithms.colout.p_row", self.p_row);
        problems.zero_to_below_one("algorithms.colout.p_col", self.p_col);
    }

    fn graph_obstacle(&self) -> Option<&'static str> {
        Some("drops other rows and columns in every step")
    }

    #[cfg(feature = "torch")]
    fn start(&self, context: &MethodContext) -> Result<Option<Box<dyn Algorithm>>, BridgeError> {
        let rng = MethodRng::new(0x636f_6c6f_7574, context);
        Ok(Some(Box::new(ColOutAlgorithm { config: self.clone(), rng })))
    }
}

#[cfg(feature = "torch")]
struct ColOutAlgorithm {
    config: ColOut,
    rng: MethodRng,
}

#[cfg(feature = "torch")]
impl Algorithm for ColOutAlgorithm {
    fn before_forward(
        &mut self,
        now: Progress,
        batch: Batch,
        _losses: &SampleLosses,
    ) -> Result<Batch, BridgeError> {
        let images = colout(&batch.images, &self.config, &mut self.rng.at(now));
        Ok(Batch { images, ..batch })
    }
}

#[cfg(all(test, feature = "torch"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_keeps_its_order() {
        let kept = kept(&mut Rng::keyed(&[7]), 40, 0.15);
        assert_eq!(kept.len(), 34);
        assert!(kept.windows(2).all(|two| two[0] < two[1]) && kept[33] < 40, "{kept:?}");
    }
}
