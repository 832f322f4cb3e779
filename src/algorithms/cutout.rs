//! `Cutout`: blanks a box of each image, so that the network does not rely on one part of an object.
//!
//! Source: `DeVries` and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with
//! Cutout", section 3: a box around a point drawn from the whole image, cut off at the borders, is
//! set to the mean pixel, 0 after normalization. Suggested: half of the image size. Trade-off: a
//! little for long runs on small images, nothing known on `ImageNet` once the rest is tuned; one
//! pass over the batch. Composer blanks the same box in the whole batch; here, as in the paper,
//! each image has its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[cfg(feature = "torch")]
use tch::{Kind, Tensor};

use super::method::Method;
#[cfg(feature = "torch")]
use super::{
    algorithm::{Algorithm, Batch, MethodContext, Progress, SampleLosses},
    method_rng::MethodRng,
};
use crate::{data::DataConfig, problems::Problems};
#[cfg(feature = "torch")]
use crate::{data::Rng, libtorch::BridgeError};

/// Blanks a box of `length` times the image size at a random point of each of `images`
/// `[N, C, R, R]`.
#[cfg(feature = "torch")]
pub fn cutout(images: &Tensor, length: f64, rng: &mut Rng) -> Tensor {
    images * kept(rng, images, length)
}

/// Where `images` `[N, C, R, R]` keep their pixels: bool `[N, 1, R, R]`.
#[cfg(feature = "torch")]
fn kept(rng: &mut Rng, images: &Tensor, length: f64) -> Tensor {
    let (n, image_size) = (images.size()[0], images.size()[3]);
    let length = (image_size as f64 * length) as i64;
    let centres: Vec<i64> = (0..2 * n).map(|_| rng.below(image_size as usize) as i64).collect();
    let centres = Tensor::from_slice(&centres).to_device(images.device());
    let starts = centres.reshape([2, n, 1]) - length / 2;
    let at = Tensor::arange(image_size, (Kind::Int64, images.device()));
    let inside = at.ge_tensor(&starts).logical_and(&at.lt_tensor(&(&starts + length)));
    let (rows, columns) = (inside.select(0, 0).unsqueeze(2), inside.select(0, 1).unsqueeze(1));
    rows.logical_and(&columns).logical_not().unsqueeze(1)
}

/// `[algorithms.cutout]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cutout {
    /// Side of the box, as a fraction of the image size.
    pub length: f64,
}

impl Default for Cutout {
    fn default() -> Self {
        Self { length: 0.5 }
    }
}

impl Method for Cutout {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        problems.above_zero("algorithms.cutout.length", self.length);
        problems.zero_to_one("algorithms.cutout.length", self.length);
    }

    fn graph_obstacle(&self) -> Option<&'static str> {
        Some("blanks other boxes in every step")
    }

    #[cfg(feature = "torch")]
    fn start(&self, context: &MethodContext) -> Result<Option<Box<dyn Algorithm>>, BridgeError> {
        let rng = MethodRng::new(0x6375_746f_7574, context);
        Ok(Some(Box::new(CutoutAlgorithm { length: self.length, rng })))
    }
}

#[cfg(feature = "torch")]
struct CutoutAlgorithm {
    length: f64,
    rng: MethodRng,
}

#[cfg(feature = "torch")]
impl Algorithm for CutoutAlgorithm {
    fn before_forward(
        &mut self,
        now: Progress,
        batch: Batch,
        _losses: &SampleLosses,
    ) -> Result<Batch, BridgeError> {
        let images = cutout(&batch.images, self.length, &mut self.rng.at(now));
        Ok(Batch { images, ..batch })
    }
}

#[cfg(all(test, feature = "torch"))]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn each_image_loses_a_box_of_its_own() {
        let images = Tensor::zeros([64, 3, 12, 12], (Kind::Float, Device::Cpu));
        let kept = kept(&mut Rng::keyed(&[5]), &images, 0.5);
        assert_eq!(kept.size(), [64, 1, 12, 12]);
        let lost = kept.logical_not().sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Int64);
        let lost: Vec<i64> = Vec::try_from(lost).unwrap();
        // A box whose centre is in a corner still covers a quarter.
        assert!(lost.iter().all(|&n| (9..=36).contains(&n)), "{lost:?}");
        assert!(lost.contains(&36) && lost.iter().any(|&n| n < 36), "{lost:?}");
    }
}
