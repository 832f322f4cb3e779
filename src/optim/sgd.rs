//! SGD with momentum.
//!
//! `buf = m buf + (1 - dampening) g` (first step `buf = g`),
//! `w -= lr (nesterov ? g + m buf : buf)`.
//!
//! - `sgd` adds decay to the gradient first, `g += wd w`: torch's SGD. It therefore scales with
//!   the learning rate and reaches the momentum.
//! - `decoupled_sgdw` shrinks the weight first, `w *= 1 - wd lr / lr_0`, with `lr_0` the recipe's
//!   `lr` (Loshchilov and Hutter 2017, algorithm 1, as Composer has it): decay can be tuned apart
//!   from `lr`. In a steady state it is a coupled decay of `wd (1 - m) / lr_0`.
//!
//! Suggested for ResNet-50 at batch 2048: `decoupled_sgdw`, lr 2.048, momentum 0.875, decay 5e-4
//! (`MosaicML`); or `sgd`, lr 0.1 per 256 images, momentum 0.9, decay 5e-5 not on batch norm.
//! Trade-off: the cheapest rule, one number of state a weight; above batches of about 8192 it
//! needs longer warm-ups and loses accuracy, where LARS does not.

use super::{
    config::{OptimizerConfig, OptimizerName, UpdateConstants},
    groups::weight_decay,
};
use crate::libtorch::{BridgeError, Params, SgdStep, StepNow};

/// Constants of the rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sgd {
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    decay: Decay,
}

/// Where decay acts.
#[derive(Clone, Debug, PartialEq)]
enum Decay {
    /// On the gradient.
    Coupled(f64),
    /// On the weight, times the learning rate.
    Decoupled(f64),
}

impl Sgd {
    /// The rule for the parameter `name` of `dim` dimensions, with the constants `now`.
    pub(super) fn new(
        config: &OptimizerConfig,
        now: UpdateConstants,
        (name, dim): (&str, usize),
    ) -> Self {
        let weight_decay = weight_decay(config, now, (name, dim));
        Self {
            momentum: now.momentum,
            dampening: config.dampening,
            nesterov: config.nesterov,
            decay: match config.name {
                OptimizerName::DecoupledSgdw => Decay::Decoupled(weight_decay / config.lr.peak()),
                _ => Decay::Coupled(weight_decay),
            },
        }
    }

    pub(super) fn step(&self, params: &mut Params, now: &StepNow) -> Result<(), BridgeError> {
        let (weight_decay, shrink) = match self.decay {
            Decay::Coupled(decay) => (decay, 0.0),
            Decay::Decoupled(decay) => (0.0, decay),
        };
        let step = SgdStep {
            momentum: self.momentum,
            weight_decay,
            dampening: self.dampening,
            shrink,
            nesterov: u8::from(self.nesterov),
        };
        params.sgd(&step, now)
    }
}
