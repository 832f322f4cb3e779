//! `MixUp`: trains on mixtures of two images and of their targets, so that the network behaves
//! linearly between examples and is less sure of what it memorised.
//!
//! Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", section 2; as Composer
//! 0.7.0 has it: one share a batch, `m = min(b, 1 - b)` with b from Beta(alpha, alpha);
//! `x = (1 - m) x + m x[order]` and the targets alike, for a random order of the batch. Suggested: 0.2.
//! Trade-off: accuracy of runs of 60 epochs or more, harm to shorter ones; one pass over the batch.

use serde::{Deserialize, Serialize};

/// `[algorithms.mixup]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixUp {
    /// Of the Beta distribution: the larger, the more even the mixtures. Above 0, up to 4.
    pub alpha: f64,
}

impl Default for MixUp {
    fn default() -> Self {
        Self { alpha: 0.2 }
    }
}

#[cfg(feature = "torch")]
pub(super) use mixing::Mixing;
#[cfg(feature = "torch")]
pub use mixing::mix;

#[cfg(feature = "torch")]
mod mixing {
    use tch::Tensor;

    use super::{
        super::{
            algorithm::{Algorithm, Batch, MethodContext, Progress, SampleLosses},
            method_rng::{MethodRng, beta, order},
        },
        MixUp,
    };
    use crate::libtorch::BridgeError;

    /// Keeps the draws apart from other methods'.
    const METHOD: u64 = 0x006d_6978_7570;

    /// Mixes `fraction` of the images and targets at `order` `[N]` (int64) into the batch.
    pub fn mix(batch: Batch, fraction: f64, order: &Tensor) -> Batch {
        let mixed = |t: &Tensor| t.lerp(&t.index_select(0, order), fraction);
        Batch { images: mixed(&batch.images), targets: mixed(&batch.targets), ..batch }
    }

    /// The method in a run.
    pub(in crate::algorithms) struct Mixing {
        alpha: f64,
        method_rng: MethodRng,
    }

    impl Mixing {
        pub(in crate::algorithms) fn new(config: &MixUp, context: &MethodContext) -> Self {
            Self { alpha: config.alpha, method_rng: MethodRng::new(METHOD, context) }
        }
    }

    impl Algorithm for Mixing {
        fn before_forward(
            &mut self,
            now: Progress,
            batch: Batch,
            _losses: &SampleLosses,
        ) -> Result<Batch, BridgeError> {
            let mut rng = self.method_rng.at(now);
            let fraction = beta(&mut rng, self.alpha);
            let order = Tensor::from_slice(&order(&mut rng, batch.labels.size()[0] as usize));
            let order = order.to_device(batch.images.device());
            Ok(mix(batch, fraction.min(1.0 - fraction), &order))
        }
    }
}
