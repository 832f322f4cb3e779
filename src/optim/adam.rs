//! Adam with decoupled decay (Kingma and Ba 2014; Loshchilov and Hutter 2017, algorithm 2).
//!
//! `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `m^ = m / (1 - b1^t)`,
//! `v^ = v / (1 - b2^t)`, `w -= lr m^ / (sqrt(v^) + epsilon)`, after the decay
//!
//! - `adamw`: `w *= 1 - lr wd`, torch's `AdamW`;
//! - `decoupled_adamw`: `w *= 1 - wd lr / lr_0`, with `lr_0` the recipe's `lr`, Composer's.
//!
//! Suggested for ResNet-50: lr 1e-3 to 4e-3 at batch 2048, decay 0.05 (`adamw`), 5 epochs of
//! warm-up. Trade-off: forgiving of a wrong learning rate, at twice SGD's state; for ResNets on
//! ImageNet no published fast recipe uses it.

use super::{
    config::{OptimizerConfig, OptimizerName, UpdateConstants},
    groups::weight_decay,
};
use crate::libtorch::{AdamStep, BridgeError, Params, StepNow};

/// Constants of the rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adam {
    betas: [f64; 2],
    epsilon: f64,
    /// By which, times the learning rate, a weight shrinks.
    weight_decay: f64,
}

impl Adam {
    /// The rule for the parameter `name` of `dim` dimensions, with the constants `now`.
    pub(super) fn new(
        config: &OptimizerConfig,
        now: UpdateConstants,
        (name, dim): (&str, usize),
    ) -> Self {
        let weight_decay = weight_decay(config, now, (name, dim));
        Self {
            betas: config.betas(),
            epsilon: config.epsilon(),
            weight_decay: match config.name {
                OptimizerName::DecoupledAdamw => weight_decay / config.lr.peak(),
                _ => weight_decay,
            },
        }
    }

    /// A step of the rule's constants; LAMB's too.
    pub(super) fn constants(&self) -> AdamStep {
        let [beta1, beta2] = self.betas;
        let (weight_decay, epsilon) = (self.weight_decay, self.epsilon);
        AdamStep { beta1, beta2, weight_decay, epsilon, trusted: 0 }
    }

    pub(super) fn step(&self, params: &mut Params, now: &StepNow) -> Result<(), BridgeError> {
        params.adamw(&self.constants(), now)
    }
}
