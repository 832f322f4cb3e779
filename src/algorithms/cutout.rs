//! `Cutout`: blanks a box of each image, so that the network does not lean on one part of an object.
//!
//! Source: `DeVries` and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with
//! Cutout", section 3: a box around a point drawn from the whole image, cut off at the borders, is set
//! to the mean pixel, 0 after normalisation. Suggested: half of the side. Trade-off: a little for
//! long runs on small images, nothing known on `ImageNet` once the rest is tuned; one pass over the
//! batch. Composer blanks the same box in the whole batch; here, as in the paper, each image has its
//! own.

use serde::{Deserialize, Serialize};

/// `[algorithms.cutout]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cutout {
    /// Side of the box, as a share of the image's.
    pub length: f64,
}

impl Default for Cutout {
    fn default() -> Self {
        Self { length: 0.5 }
    }
}

#[cfg(feature = "torch")]
pub(super) use blanking::Blanking;

#[cfg(feature = "torch")]
mod blanking {
    use tch::{Kind, Tensor};

    use super::{
        super::{
            algorithm::{Algorithm, Batch, MethodContext, Progress, SampleLosses},
            method_rng::MethodRng,
        },
        Cutout,
    };
    use crate::{data::Rng, libtorch::BridgeError};

    /// Keeps the draws apart from other methods'.
    const METHOD: u64 = 0x6375_746f_7574;

    /// The method in a run.
    pub(in crate::algorithms) struct Blanking {
        length: f64,
        method_rng: MethodRng,
    }

    impl Blanking {
        pub(in crate::algorithms) fn new(config: &Cutout, context: &MethodContext) -> Self {
            Self { length: config.length, method_rng: MethodRng::new(METHOD, context) }
        }
    }

    /// Where `images` `[N, C, R, R]` keep their pixels: bool `[N, 1, R, R]`.
    fn kept(rng: &mut Rng, images: &Tensor, fraction: f64) -> Tensor {
        let (n, image_size) = (images.size()[0], images.size()[3]);
        let length = (image_size as f64 * fraction) as i64;
        let centres: Vec<i64> = (0..2 * n).map(|_| rng.below(image_size as usize) as i64).collect();
        let centres = Tensor::from_slice(&centres).to_device(images.device());
        let starts = centres.reshape([2, n, 1]) - length / 2;
        let at = Tensor::arange(image_size, (Kind::Int64, images.device()));
        let inside = at.ge_tensor(&starts).logical_and(&at.lt_tensor(&(&starts + length)));
        let (rows, columns) = (inside.select(0, 0).unsqueeze(2), inside.select(0, 1).unsqueeze(1));
        rows.logical_and(&columns).logical_not().unsqueeze(1)
    }

    impl Algorithm for Blanking {
        fn before_forward(
            &mut self,
            now: Progress,
            batch: Batch,
            _losses: &SampleLosses,
        ) -> Result<Batch, BridgeError> {
            let kept = kept(&mut self.method_rng.at(now), &batch.images, self.length);
            Ok(Batch { images: batch.images * kept, ..batch })
        }
    }

    #[cfg(test)]
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
            // A box whose centre lies in a corner still shows a quarter.
            assert!(lost.iter().all(|&n| (9..=36).contains(&n)), "{lost:?}");
            assert!(lost.contains(&36) && lost.iter().any(|&n| n < 36), "{lost:?}");
        }
    }
}
