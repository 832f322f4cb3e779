//! `[optimizer]`, `[scheduler]` and `[loss]` of a recipe. No tensors here.

use serde::{Deserialize, Serialize};

use super::time::Time;

/// `[optimizer]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which update rule.
    pub name: OptimizerName,
    /// Learning rate at the top of the schedule, for the global batch.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Share of the gradient that the momentum leaves out.
    pub dampening: f64,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
    /// Tensors without decay: `"bn"`, `"bias"`.
    pub no_decay: Vec<NoDecay>,
}

/// Names of the update rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    /// torch's SGD: decay is added to the gradient.
    Sgd,
    /// Decay shrinks the weight directly (Loshchilov and Hutter 2017, algorithm 1).
    DecoupledSgdw,
}

/// Tensors that decay leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoDecay {
    /// Weights and biases of batch norm.
    Bn,
    /// Every bias, of batch norm too.
    Bias,
}

/// `[scheduler]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Shape of the schedule.
    pub name: ScheduleName,
    /// Linear warm-up from 0.
    pub t_warmup: Time,
    /// Last learning rate as a share of the first.
    pub alpha_f: f64,
}

/// Names of the schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// Half a cosine after a linear warm-up.
    CosineDecayWithWarmup,
}

/// `[loss]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Which loss.
    pub name: LossName,
}

/// Names of the losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Mean over samples of -sum over classes of t log softmax(z).
    SoftCrossEntropy,
    /// Sum over classes, mean over samples, of the binary cross-entropy with logits.
    BinaryCrossEntropyWithLogits,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            name: OptimizerName::DecoupledSgdw,
            lr: 2.048,
            momentum: 0.875,
            weight_decay: 5e-4,
            dampening: 0.0,
            nesterov: false,
            no_decay: Vec::new(),
        }
    }
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            name: ScheduleName::CosineDecayWithWarmup,
            t_warmup: Time::Epochs(8.0),
            alpha_f: 0.0,
        }
    }
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { name: LossName::SoftCrossEntropy }
    }
}
