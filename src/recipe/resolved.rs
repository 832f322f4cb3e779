//! A recipe that has been checked, with every value settled.

use super::{
    config::{EvalConfig, GradientCompression, MlperfConfig, Precision, RunConfig, TrainConfig},
    file::RecipeFile,
};
use crate::{
    algorithms::AlgorithmsConfig,
    data::DataConfig,
    hash,
    model::{ModelConfig, ModelSpec},
    optim::{LossConfig, OptimizerConfig, RunLength, Schedule, ScheduleConfig},
};

/// What a recipe is resolved for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunContext {
    /// Ranks.
    pub world_size: usize,
    /// Classes of the data set.
    pub num_classes: usize,
    /// Training images.
    pub num_train: usize,
    /// Validation images.
    pub num_eval: usize,
}

/// `ImageNet` on one rank, for uses without a data set.
pub const IMAGENET: RunContext =
    RunContext { world_size: 1, num_classes: 1000, num_train: 1_281_167, num_eval: 50_000 };

/// A recipe that has been checked, with every value settled: the sections of the file, and what
/// follows from them in the run context.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
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
    /// What the recipe was resolved for.
    pub run_context: RunContext,
    /// Seed of the run.
    pub seed: u64,
    /// The network, with every change that methods make to it.
    pub spec: ModelSpec,
    /// Steps and epochs of the run.
    pub run_length: RunLength,
    /// Learning rate by step.
    pub schedule: Schedule,
    /// Size of the training images by epoch, px; index 0 is epoch 1.
    pub image_sizes: Vec<usize>,
    /// Size of the crops that the loader makes by epoch, px.
    pub crop_sizes: Vec<usize>,
    /// Epochs after which to evaluate, from 1, rising.
    pub eval_epochs: Vec<usize>,
    /// Training images of a rank in a step.
    pub batch_per_rank: usize,
    /// Evaluation images of a rank in a step.
    pub eval_batch_per_rank: usize,
}

impl Recipe {
    /// The recipe as a file, every default written out.
    pub fn to_file(&self) -> RecipeFile {
        RecipeFile {
            run: self.run.clone(),
            mlperf: self.mlperf.clone(),
            model: self.model.clone(),
            data: self.data.clone(),
            train: self.train.clone(),
            optimizer: self.optimizer.clone(),
            scheduler: self.scheduler.clone(),
            loss: self.loss.clone(),
            eval: self.eval.clone(),
            algorithms: self.algorithms.clone(),
        }
    }

    /// The recipe as TOML, every default written out: loaded and resolved again in the same
    /// run context, it gives an equal recipe.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.to_file()).expect("`validate::writable` has tried it")
    }

    /// Bytes of gradients of `num_params` parameters that each rank sends in a step. A ring all-reduce
    /// sends every byte twice, but for a rank's own share.
    pub fn wire_bytes_per_step(&self, num_params: usize) -> Option<u64> {
        let num_ranks = self.run_context.world_size;
        let bytes_each = match (self.train.ddp.compression, self.train.precision) {
            (GradientCompression::Off, Precision::Fp64) => 8,
            (GradientCompression::Off, _) => 4,
            (GradientCompression::Fp16 | GradientCompression::Bf16, _) => 2,
        };
        let bytes = (num_params * bytes_each) as u64;
        (num_ranks > 1).then(|| 2 * bytes * (num_ranks as u64 - 1) / num_ranks as u64)
    }

    /// Why the steps cannot be captured once and replayed; `None` where they can.
    pub fn graph_obstacle(&self) -> Option<String> {
        self.algorithms.graph_obstacle().or_else(|| self.optimizer.graph_obstacle())
    }

    /// Why the network cannot use the fused kernels; `None` where it can.
    pub fn fusion_obstacle(&self) -> Option<&'static str> {
        if self.algorithms.channels_last.is_none() {
            return Some("algorithms.channels_last is off; switch it on");
        }
        if self.train.precision == Precision::Fp64 {
            return Some("cuDNN convolves fp64 channels first; take another train.precision");
        }
        self.spec.fusion_obstacle()
    }

    /// Hash of [`Recipe::to_toml`], in hexadecimal digits: names what was run, seed included.
    pub fn sha256(&self) -> String {
        hash::sha256(self.to_toml())
    }
}
