//! The recipe file, section by section, with its overrides and defaults.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::{EvalConfig, MlperfConfig, RunConfig, TrainConfig};
use crate::{
    algorithms::AlgorithmsConfig,
    data::DataConfig,
    model::ModelConfig,
    optim::{LossConfig, OptimizerConfig, ScheduleConfig},
};

/// A recipe as typed in a TOML file. An unknown key is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecipeFile {
    /// `[run]`: ranks, device, seed, length
    pub run: RunConfig,
    /// `[mlperf]`: the target, and what the log says of the run
    pub mlperf: MlperfConfig,
    /// `[model]`: the network
    pub model: ModelConfig,
    /// `[data]`: images, and how they are cropped
    pub data: DataConfig,
    /// `[train]`: batch, precision, settings of GPUs, checkpoints
    pub train: TrainConfig,
    /// `[optimizer]`: the update rule and the learning rate
    pub optimizer: OptimizerConfig,
    /// `[scheduler]`: the learning rate by step
    pub scheduler: ScheduleConfig,
    /// `[loss]`: what is minimized
    pub loss: LossConfig,
    /// `[eval]`: when and how the accuracy is measured
    pub eval: EvalConfig,
    /// `[algorithms]`: speed-up methods
    pub algorithms: AlgorithmsConfig,
}

impl RecipeFile {
    /// Trains on the folder `data` instead of what the recipe names.
    pub fn train_on(&mut self, data: &Path) {
        self.data.path = Some(data.to_owned());
        self.data.synth = None;
    }
}
