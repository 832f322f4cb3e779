//! `[optimizer]` and `[loss]` of a recipe. No tensors here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::ByEpoch;

/// `[optimizer]`.
///
/// Keys that are absent take the default of the rule that `name` picks; a key that only another
/// rule knows is refused. `momentum` is ignored by the rules that have `betas` instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which update rule.
    pub name: OptimizerName,
    /// Learning rate at the top of the schedule, for the global batch; or the learning rate by time,
    /// with the schedule `constant`.
    pub lr: ByEpoch<f64>,
    /// Momentum.
    pub momentum: ByEpoch<f64>,
    /// Weight decay.
    pub weight_decay: ByEpoch<f64>,
    /// Fraction of the gradient that the momentum leaves out.
    pub dampening: f64,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
    /// Tensors without decay; absent: those of `skip` for `lars`, none for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_decay: Option<Vec<Exempt>>,
    /// `lars`: factor of the trust ratio; absent: 0.001.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    /// `lars`, `adamw`, `decoupled_adamw`, `lamb`: guards a division; absent: 0, 1e-8, 1e-8, 1e-6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// `adamw`, `decoupled_adamw`, `lamb`: momenta of gradient and square; absent: 0.9, 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// `lars`, `lamb`: tensors whose trust ratio is 1; absent: `["bn", "bias"]` for `lars`, none
    /// for `lamb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<Vec<Exempt>>,
    /// `lars`: the momentum follows changes of the learning rate; absent: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum_correction: Option<bool>,
    /// `lars`: so does the momentum of skipped tensors; absent: as `momentum_correction`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correct_skipped: Option<bool>,
    /// `lars`: the last layer's bias decays, whatever `no_decay` says; absent: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_fc_bias: Option<bool>,
    /// `muon`: Newton-Schulz iterations; absent: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_steps: Option<usize>,
    /// `muon`: how the learning rate follows a matrix' shape; absent: `original`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjust_lr: Option<AdjustLr>,
    /// `[optimizer.lr_multipliers]`: factors on the learning rate of layers, blocks or stages, as
    /// `fc = 10.0`. The smallest one around a parameter applies.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lr_multipliers: BTreeMap<String, f64>,
    /// `muon`: `[optimizer.others]`, the rule of all tensors but the convolutions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<Box<Self>>,
}

/// Names of the update rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    /// torch's SGD: decay is added to the gradient.
    Sgd,
    /// Decay shrinks the weight directly (Loshchilov and Hutter 2017, algorithm 1).
    DecoupledSgdw,
    /// Layer-wise rates (You et al. 2017).
    Lars,
    /// torch's `AdamW`: decay shrinks the weight in proportion to the learning rate.
    Adamw,
    /// Composer's `AdamW`: decay follows the schedule, independently of its peak.
    DecoupledAdamw,
    /// Layer-wise rates for Adam (You et al. 2019).
    Lamb,
    /// Orthogonalized momentum for the convolutions (Jordan 2024).
    Muon,
}

impl OptimizerName {
    /// The name as a recipe spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::DecoupledSgdw => "decoupled_sgdw",
            Self::Lars => "lars",
            Self::Adamw => "adamw",
            Self::DecoupledAdamw => "decoupled_adamw",
            Self::Lamb => "lamb",
            Self::Muon => "muon",
        }
    }
}

/// Kinds of tensors that a rule can exempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exempt {
    /// Weights and biases of batch norm.
    Bn,
    /// Every bias, of batch norm too.
    Bias,
}

/// Factor on Muon's learning rate for a matrix of `rows` x `cols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdjustLr {
    /// `sqrt(max(1, rows / cols))`.
    Original,
    /// `0.2 sqrt(max(rows, cols))`: updates as large as `AdamW`'s, so that its rates carry over.
    MatchRmsAdamw,
}

/// Constants of an update rule that may change from epoch to epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateConstants {
    /// Momentum.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

impl OptimizerConfig {
    /// The greatest constants of the run.
    pub fn peak_constants(&self) -> UpdateConstants {
        UpdateConstants { momentum: self.momentum.peak(), weight_decay: self.weight_decay.peak() }
    }

    /// Whether the rule has `betas` in place of `momentum`.
    pub fn has_betas(&self) -> bool {
        use OptimizerName::{Adamw, DecoupledAdamw, Lamb};
        matches!(self.name, Adamw | DecoupledAdamw | Lamb)
    }

    /// Tensors that decay leaves alone.
    pub fn no_decay(&self) -> Vec<Exempt> {
        match (&self.no_decay, self.name) {
            (Some(typed), _) => typed.clone(),
            (None, OptimizerName::Lars) => self.skip(),
            (None, _) => Vec::new(),
        }
    }

    /// Tensors whose trust ratio is 1.
    pub fn skip(&self) -> Vec<Exempt> {
        match (&self.skip, self.name) {
            (Some(typed), _) => typed.clone(),
            (None, OptimizerName::Lars) => vec![Exempt::Bn, Exempt::Bias],
            (None, _) => Vec::new(),
        }
    }

    /// Factor of the trust ratio.
    pub fn eta(&self) -> f64 {
        self.eta.unwrap_or(0.001)
    }

    /// Added to the divisor of the rule.
    pub fn epsilon(&self) -> f64 {
        self.epsilon.unwrap_or(match self.name {
            OptimizerName::Adamw | OptimizerName::DecoupledAdamw => 1e-8,
            OptimizerName::Lamb => 1e-6,
            _ => 0.0,
        })
    }

    /// Momenta of gradient and square.
    pub fn betas(&self) -> [f64; 2] {
        self.betas.unwrap_or([0.9, 0.999])
    }

    /// Whether momenta follow changes of the learning rate.
    pub fn momentum_correction(&self) -> bool {
        self.momentum_correction.unwrap_or(true)
    }

    /// The same for the momenta of skipped tensors.
    pub fn correct_skipped(&self) -> bool {
        self.correct_skipped.unwrap_or(self.momentum_correction())
    }

    /// Whether the last layer's bias decays in any case.
    pub fn decay_fc_bias(&self) -> bool {
        self.decay_fc_bias.unwrap_or(true)
    }

    /// Newton-Schulz iterations.
    pub fn ns_steps(&self) -> usize {
        self.ns_steps.unwrap_or(5)
    }

    /// How the learning rate follows a matrix' shape.
    pub fn adjust_lr(&self) -> AdjustLr {
        self.adjust_lr.unwrap_or(AdjustLr::Original)
    }

    /// The same with the defaults of its rule written out.
    #[must_use]
    pub fn filled(mut self) -> Self {
        self.no_decay = Some(self.no_decay());
        match self.name {
            OptimizerName::Sgd | OptimizerName::DecoupledSgdw => {}
            OptimizerName::Lars => {
                self.skip = Some(self.skip());
                self.eta = Some(self.eta());
                self.epsilon = Some(self.epsilon());
                self.correct_skipped = Some(self.correct_skipped());
                self.momentum_correction = Some(self.momentum_correction());
                self.decay_fc_bias = Some(self.decay_fc_bias());
            }
            OptimizerName::Adamw | OptimizerName::DecoupledAdamw => {
                self.epsilon = Some(self.epsilon());
                self.betas = Some(self.betas());
            }
            OptimizerName::Lamb => {
                self.skip = Some(self.skip());
                self.epsilon = Some(self.epsilon());
                self.betas = Some(self.betas());
            }
            OptimizerName::Muon => {
                self.ns_steps = Some(self.ns_steps());
                self.adjust_lr = Some(self.adjust_lr());
                self.others = self.others.map(|others| Box::new(others.filled()));
            }
        }
        self
    }

    /// Keys that are set although the rule does not have them.
    pub fn foreign_keys(&self) -> Vec<&'static str> {
        use OptimizerName::{Adamw, DecoupledAdamw, DecoupledSgdw, Lamb, Lars, Muon, Sgd};
        let keys: [(&str, bool, &[OptimizerName]); 12] = [
            ("dampening", self.dampening != 0.0, &[Sgd, DecoupledSgdw]),
            ("nesterov", self.nesterov, &[Sgd, DecoupledSgdw, Muon]),
            ("eta", self.eta.is_some(), &[Lars]),
            ("epsilon", self.epsilon.is_some(), &[Lars, Adamw, DecoupledAdamw, Lamb]),
            ("betas", self.betas.is_some(), &[Adamw, DecoupledAdamw, Lamb]),
            ("skip", self.skip.is_some(), &[Lars, Lamb]),
            ("momentum_correction", self.momentum_correction.is_some(), &[Lars]),
            ("correct_skipped", self.correct_skipped.is_some(), &[Lars]),
            ("decay_fc_bias", self.decay_fc_bias.is_some(), &[Lars]),
            ("ns_steps", self.ns_steps.is_some(), &[Muon]),
            ("adjust_lr", self.adjust_lr.is_some(), &[Muon]),
            ("others", self.others.is_some(), &[Muon]),
        ];
        let foreign =
            |(_, set, rules): &(_, bool, &[OptimizerName])| *set && !rules.contains(&self.name);
        keys.into_iter().filter(foreign).map(|(key, ..)| key).collect()
    }
}

/// `[loss]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Which loss.
    pub name: LossName,
}

/// Names of the losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
            lr: 2.048.into(),
            momentum: 0.875.into(),
            weight_decay: 5e-4.into(),
            dampening: 0.0,
            nesterov: false,
            no_decay: None,
            eta: None,
            epsilon: None,
            betas: None,
            skip: None,
            momentum_correction: None,
            correct_skipped: None,
            decay_fc_bias: None,
            ns_steps: None,
            adjust_lr: None,
            lr_multipliers: BTreeMap::new(),
            others: None,
        }
    }
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { name: LossName::SoftCrossEntropy }
    }
}
