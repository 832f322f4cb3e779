//! The values that a session logs about the run, and their records.

use serde_json::{Number, Value};

use super::{Key, MllogError};

/// The submission: the `submission_*` records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The submitter.
    pub org: String,
    /// The system.
    pub platform: String,
    /// `open` or `closed`.
    pub division: String,
    /// `cloud`, `onprem`, `preview` or `research`.
    pub status: String,
    /// `resnet`.
    pub benchmark: String,
    /// The contact person, if public.
    pub poc_name: Option<String>,
}

/// The hyperparameters of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Seed of the run; different in every run of a submission.
    pub seed: u64,
    /// Images per optimizer update, over all ranks.
    pub global_batch_size: usize,
    /// Training images per epoch.
    pub train_samples: usize,
    /// Images per evaluation.
    pub eval_samples: usize,
    /// Microbatches per optimizer update.
    pub gradient_accumulation_steps: usize,
    /// Images over which batch norm computes its statistics.
    pub bn_span: usize,
    /// `sgd` or `lars` in the closed division, any name in the open one.
    pub opt_name: String,
    /// The optimizer's hyperparameters.
    pub optimizer: Optimizer,
}

/// The family of keys for the optimizer's hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Optimizer {
    /// `sgd_opt_*`
    Sgd(SgdOptions),
    /// `lars_opt_*`
    Lars(LarsOptions),
    /// `opt_adamw_*`
    Adamw(AdamOptions),
    /// `opt_lamb_*`
    Lamb(AdamOptions),
    /// `opt_*`, for an optimizer without its own keys.
    Plain(PlainOptions),
}

/// Hyperparameters of SGD with momentum. Values that a schedule does not have are not logged.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdOptions {
    /// Highest learning rate.
    pub base_learning_rate: f64,
    /// Learning rate at the end of the decay.
    pub end_learning_rate: Option<f64>,
    /// Power of the polynomial decay.
    pub decay_poly_power: Option<f64>,
    /// Steps of the decay.
    pub decay_steps: Option<usize>,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: f64,
}

/// Hyperparameters of LARS.
#[derive(Clone, Debug, PartialEq)]
pub struct LarsOptions {
    /// Highest learning rate.
    pub base_learning_rate: f64,
    /// Learning rate at the end of the decay.
    pub end_learning_rate: f64,
    /// Power of the polynomial decay.
    pub decay_poly_power: Option<f64>,
    /// Steps of the decay.
    pub decay_steps: usize,
    /// Epsilon in the denominator of the trust ratio.
    pub epsilon: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: f64,
}

/// Hyperparameters of any optimizer.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainOptions {
    /// Highest learning rate.
    pub base_learning_rate: f64,
    /// Learning rate at the end of the decay.
    pub end_learning_rate: f64,
    /// Steps of the decay.
    pub decay_steps: usize,
    /// Weight decay.
    pub weight_decay: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: f64,
}

/// Hyperparameters of Adam and its variants.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamOptions {
    /// Those of any optimizer.
    pub plain: PlainOptions,
    /// Betas of the first and second moment.
    pub betas: [f64; 2],
    /// Epsilon in the denominator.
    pub epsilon: f64,
}

impl Submission {
    pub(super) fn records(&self) -> impl Iterator<Item = (Key, &str)> {
        [
            (Key::SubmissionBenchmark, Some(&self.benchmark)),
            (Key::SubmissionOrg, Some(&self.org)),
            (Key::SubmissionDivision, Some(&self.division)),
            (Key::SubmissionStatus, Some(&self.status)),
            (Key::SubmissionPlatform, Some(&self.platform)),
            (Key::SubmissionPocName, self.poc_name.as_ref()),
        ]
        .into_iter()
        .filter_map(|(key, text)| Some((key, text?.as_str())))
    }
}

impl Hyperparameters {
    pub(super) fn records(&self) -> Result<Vec<(Key, Value)>, MllogError> {
        let mut records: Vec<(Key, Value)> = vec![
            (Key::Seed, self.seed.into()),
            (Key::GlobalBatchSize, self.global_batch_size.into()),
            (Key::GradientAccumulationSteps, self.gradient_accumulation_steps.into()),
            (Key::TrainSamples, self.train_samples.into()),
            (Key::EvalSamples, self.eval_samples.into()),
            (Key::ModelBnSpan, self.bn_span.into()),
            (Key::OptName, self.opt_name.as_str().into()),
        ];
        for (key, value) in self.optimizer.numbers() {
            if let Some(value) = value {
                records.push((key, number(key, value)?));
            }
        }
        if let (key, Some(steps)) = self.optimizer.decay_steps() {
            records.push((key, steps.into()));
        }
        Ok(records)
    }
}

impl Optimizer {
    fn numbers(&self) -> Vec<(Key, Option<f64>)> {
        match self {
            Self::Sgd(sgd) => vec![
                (Key::SgdOptBaseLearningRate, Some(sgd.base_learning_rate)),
                (Key::SgdOptEndLearningRate, sgd.end_learning_rate),
                (Key::SgdOptLearningRateDecayPolyPower, sgd.decay_poly_power),
                (Key::SgdOptMomentum, Some(sgd.momentum)),
                (Key::SgdOptWeightDecay, Some(sgd.weight_decay)),
                (Key::OptLearningRateWarmupEpochs, Some(sgd.warmup_epochs)),
            ],
            Self::Lars(lars) => vec![
                (Key::LarsOptBaseLearningRate, Some(lars.base_learning_rate)),
                (Key::LarsOptEndLearningRate, Some(lars.end_learning_rate)),
                (Key::LarsOptLearningRateDecayPolyPower, lars.decay_poly_power),
                (Key::LarsEpsilon, Some(lars.epsilon)),
                (Key::LarsOptMomentum, Some(lars.momentum)),
                (Key::LarsOptWeightDecay, Some(lars.weight_decay)),
                (Key::LarsOptLearningRateWarmupEpochs, Some(lars.warmup_epochs)),
            ],
            Self::Adamw(adamw) => adamw.numbers([
                Key::OptAdamwBeta1,
                Key::OptAdamwBeta2,
                Key::OptAdamwEpsilon,
                Key::OptAdamwWeightDecay,
            ]),
            Self::Lamb(lamb) => lamb.numbers([
                Key::OptLambBeta1,
                Key::OptLambBeta2,
                Key::OptLambEpsilon,
                Key::OptLambWeightDecayRate,
            ]),
            Self::Plain(plain) => plain.numbers(Key::OptWeightDecay),
        }
    }

    fn decay_steps(&self) -> (Key, Option<usize>) {
        match self {
            Self::Sgd(sgd) => (Key::SgdOptLearningRateDecaySteps, sgd.decay_steps),
            Self::Lars(lars) => (Key::LarsOptLearningRateDecaySteps, Some(lars.decay_steps)),
            Self::Adamw(AdamOptions { plain, .. })
            | Self::Lamb(AdamOptions { plain, .. })
            | Self::Plain(plain) => (Key::OptLearningRateDecaySteps, Some(plain.decay_steps)),
        }
    }
}

impl PlainOptions {
    fn numbers(&self, weight_decay: Key) -> Vec<(Key, Option<f64>)> {
        vec![
            (Key::OptBaseLearningRate, Some(self.base_learning_rate)),
            (Key::OptEndLearningRate, Some(self.end_learning_rate)),
            (weight_decay, Some(self.weight_decay)),
            (Key::OptLearningRateWarmupEpochs, Some(self.warmup_epochs)),
        ]
    }
}

impl AdamOptions {
    fn numbers(
        &self,
        [beta_1, beta_2, epsilon, weight_decay]: [Key; 4],
    ) -> Vec<(Key, Option<f64>)> {
        let mut numbers = self.plain.numbers(weight_decay);
        numbers.push((beta_1, Some(self.betas[0])));
        numbers.push((beta_2, Some(self.betas[1])));
        numbers.push((epsilon, Some(self.epsilon)));
        numbers
    }
}

/// `value` as JSON. JSON lacks non-finite numbers, which would silently become null.
pub(super) fn number(key: Key, value: f64) -> Result<Value, MllogError> {
    Number::from_f64(value).map(Value::Number).ok_or(MllogError::NotFinite { key, value })
}
