//! The recipe file, section by section, with its overrides and defaults.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::{EvalConfig, MlperfConfig, RunConfig, TrainConfig};
use crate::{
    algorithms::AlgorithmsConfig,
    data::DataConfig,
    model::ModelConfig,
    optim::{LossConfig, OptimizerConfig, ScheduleConfig},
};

/// A recipe as typed in a TOML file. An unknown key is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecipeFile {
    /// `[run]`
    pub run: RunConfig,
    /// `[mlperf]`
    pub mlperf: MlperfConfig,
    /// `[model]`
    pub model: ModelConfig,
    /// `[data]`
    pub data: DataConfig,
    /// `[train]`
    pub train: TrainConfig,
    /// `[optimizer]`
    pub optimizer: OptimizerConfig,
    /// `[scheduler]`
    pub scheduler: ScheduleConfig,
    /// `[loss]`
    pub loss: LossConfig,
    /// `[eval]`
    pub eval: EvalConfig,
    /// `[algorithms]`
    pub algorithms: AlgorithmsConfig,
}

impl RecipeFile {
    /// Trains on the folder `data` instead of what the recipe names.
    pub fn train_on(&mut self, data: &Path) {
        self.data.path = Some(data.to_owned());
        self.data.synth = None;
    }
}
