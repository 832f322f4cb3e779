//! LARS: layer-wise adaptive rates (You et al. 2017, "Large batch training of convolutional
//! networks", algorithm 1), as MLPerf's closed division runs it.
//!
//! `trust = eta |w| / (|g| + wd |w| + epsilon)` for each tensor, 1 where `|w|` or `|g|` is 0, with
//! g the gradient's mean over the global batch and before decay. Then
//!
//! - corrected momentum: `u = m u + trust (g + wd w)`, `w -= lr u`. It equals NVIDIA's
//!   `v = m (lr_t / lr_{t-1}) v - lr_t trust (g + wd w)`, `w += v`, the correction of Goyal et al.
//!   2017 (section 3.4, remark 3), and needs no last learning rate.
//! - uncorrected: `v = m v - lr trust (g + wd w)`, `w += v`.
//!
//! Tensors in `skip` have a trust ratio of 1 and so feel the raw learning rate; those in `no_decay`
//! no decay. The published variants:
//!
//! | variant | keys |
//! |---|---|
//! | NVIDIA's closed submissions (`SGDwFASTLARS`) | the defaults |
//! | `FASTLARSV2`, their largest runs | `no_decay = []`, `correct_skipped = false` |
//! | MLPerf's TF2 reference | `momentum_correction = false`, `decay_fc_bias = false`, `epsilon = 1e-7` (what Keras makes of 0) |
//!
//! Suggested (NVIDIA, batch 3264, with `poly` of power 2 and 2 epochs of warm-up): lr 10.5,
//! momentum 0.9, decay 5e-5. Norms stay on the device; a layer's trust ratio costs a small kernel
//! each. Trade-off: 35 epochs at batches of 1632 to 3264 (40 at 4096, 42 at 8192), where SGD with
//! speed-up methods needs 27; it is what holds at batches of tens of thousands.

use super::{
    config::{OptimizerConfig, UpdateConstants},
    groups::{is_exempt, weight_decay},
};
use crate::libtorch::{BridgeError, LarsStep, Params, StepNow};

/// Constants of the rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lars {
    momentum: f64,
    weight_decay: f64,
    eta: f64,
    epsilon: f64,
    trusted: bool,
    corrected: bool,
}

impl Lars {
    /// The rule for the parameter `name` of `dim` dimensions, with the constants `now`.
    pub(super) fn new(
        config: &OptimizerConfig,
        now: UpdateConstants,
        (name, dim): (&str, usize),
    ) -> Self {
        let trusted = !is_exempt(name, dim, &config.skip());
        Self {
            momentum: now.momentum,
            weight_decay: weight_decay(config, now, (name, dim)),
            eta: config.eta(),
            epsilon: config.epsilon(),
            trusted,
            corrected: if trusted {
                config.momentum_correction()
            } else {
                config.correct_skipped()
            },
        }
    }

    pub(super) fn step(&self, params: &mut Params, now: &StepNow) -> Result<(), BridgeError> {
        let step = LarsStep {
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            eta: self.eta,
            epsilon: self.epsilon,
            trusted: u8::from(self.trusted),
            lr_inside: u8::from(!self.corrected),
        };
        params.lars(&step, now)
    }
}
