//! LAMB: layer-wise rates for Adam (You et al. 2019, "Large batch optimization for deep learning",
//! algorithm 2, with the identity for phi).
//!
//! With Adam's `m^` and `v^`: `r = m^ / (sqrt(v^) + epsilon) + wd w`, `w -= lr (|w| / |r|) r` for
//! each tensor; the ratio is 1 where a norm is 0 and for tensors in `skip`.
//!
//! Suggested (ResNet strikes back, Wightman et al. 2021, recipes A2 and A3, batch 2048): lr 5e-3 to
//! 8e-3, decay 0.02, `no_decay = ["bn", "bias"]`, `skip` alike, with binary cross-entropy. That
//! recipe also clips the gradient's norm to 1, which is absent here. Trade-off: twice SGD's
//! state and two norms a tensor; its published ResNet recipes have 100 epochs and more.

use super::{
    adam::Adam,
    config::{OptimizerConfig, UpdateConstants},
    groups::is_exempt,
};
use crate::libtorch::{AdamStep, BridgeError, Params, StepNow};

/// Constants of the rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lamb {
    adam: Adam,
    trusted: bool,
}

impl Lamb {
    /// The rule for the parameter `name` of `dim` dimensions, with the constants `now`.
    pub(super) fn new(
        config: &OptimizerConfig,
        now: UpdateConstants,
        (name, dim): (&str, usize),
    ) -> Self {
        let trusted = !is_exempt(name, dim, &config.skip());
        Self { adam: Adam::new(config, now, (name, dim)), trusted }
    }

    pub(super) fn step(&self, params: &mut Params, now: &StepNow) -> Result<(), BridgeError> {
        let step = AdamStep { trusted: u8::from(self.trusted), ..self.adam.constants() };
        params.lamb(&step, now)
    }
}
