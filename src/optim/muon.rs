//! Muon: orthogonalized momentum for the convolutions (Jordan et al. 2024, "Muon: an optimizer for
//! hidden layers in neural networks"). A weight is seen as a matrix of `out` rows and `in kh kw`
//! columns.
//!
//! `buf = m buf + g`, `u = nesterov ? g + m buf : buf`, `w *= 1 - lr wd`, `w -= lr adjust NS(u)`.
//! NS pulls all singular values of `u / |u|` to about 1 by `ns_steps` iterations of
//! `A = X X^T`, `X = 3.4445 X + (-4.7750 A + 2.0315 A A) X`, in bf16 (doubles stay doubles).
//! torch's Muon averages, `buf = m buf + (1 - m) g`, which gives the same matrix after NS.
//!
//! All other tensors follow `[optimizer.others]`, whose learning rate keeps its fraction of the
//! schedule. Suggested: lr 0.02, momentum 0.95, nesterov, decay 0.1 (torch's defaults but for lr);
//! others `sgd` as it would be alone. Trade-off: nothing is published for ResNet-50 on ImageNet;
//! on CIFAR it saved airbench 16 % of its time. Its products cost a few per cent of a step and are
//! not distributed: every rank computes all of them.

use super::{
    config::{AdjustLr, OptimizerConfig, UpdateConstants},
    groups::weight_decay,
};
use crate::libtorch::{BridgeError, MuonStep, Params, StepNow};

/// Constants of the rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Muon {
    momentum: f64,
    weight_decay: f64,
    nesterov: bool,
    ns_steps: usize,
    adjust_lr: AdjustLr,
}

impl Muon {
    /// The rule for the convolution `name` of `dim` dimensions, with the constants `now`.
    pub(super) fn new(
        config: &OptimizerConfig,
        now: UpdateConstants,
        (name, dim): (&str, usize),
    ) -> Self {
        Self {
            momentum: now.momentum,
            weight_decay: weight_decay(config, now, (name, dim)),
            nesterov: config.nesterov,
            ns_steps: config.ns_steps(),
            adjust_lr: config.adjust_lr(),
        }
    }

    pub(super) fn step(&self, params: &mut Params, now: &StepNow) -> Result<(), BridgeError> {
        let step = MuonStep {
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            ns_steps: self.ns_steps as u32,
            nesterov: u8::from(self.nesterov),
            match_rms_adamw: u8::from(self.adjust_lr == AdjustLr::MatchRmsAdamw),
        };
        params.muon(&step, now)
    }
}
