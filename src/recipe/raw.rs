//! What was typed: the recipe file, section by section, with every default written out.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::{EvalConfig, MlperfConfig, RunConfig, TrainConfig};
use crate::{
    algorithms::AlgorithmsConfig,
    data::DataConfig,
    model::ModelConfig,
    optim::{LossConfig, OptimizerConfig, ScheduleConfig},
};

/// A recipe as it stands in a TOML file. An unknown key is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawRecipe {
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

impl RawRecipe {
    /// Trains on the folder `data` instead of what the recipe names.
    pub fn train_on(&mut self, data: &Path) {
        self.data.path = Some(data.to_owned());
        self.data.synth = None;
    }
}
