//! A recipe that has been checked, with every value settled.

use super::{
    config::{EvalConfig, GradientCompression, MlperfConfig, Precision, RunConfig, TrainConfig},
    file::RecipeFile,
    microbatch::Microbatch,
};
use crate::{
    algorithms::{AlgorithmsConfig, LabelSmoothing},
    data::{DataConfig, TrainTransform},
    hash,
    model::{ModelConfig, ModelSpec},
    optim::{LossConfig, OptimizerConfig, RunLength, Schedule, ScheduleConfig, UpdateConstants},
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
    /// What else may change by epoch; index 0 is epoch 1.
    pub epoch_values: Vec<EpochValues>,
    /// Epochs after which to evaluate, from 1, rising.
    pub eval_epochs: Vec<usize>,
    /// Training images of a rank in a step.
    pub batch_per_rank: usize,
    /// Evaluation images of a rank in a step.
    pub eval_batch_per_rank: usize,
}

/// Values of an epoch, besides its image size and learning rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochValues {
    /// How training images are cropped, flipped, decoded and cached.
    pub transform: TrainTransform,
    /// Constants of the update rule.
    pub update: UpdateConstants,
    /// Fraction of the targets that label smoothing spreads.
    pub smoothing: f64,
    /// Layers, from the first on, that the epoch does not train.
    pub num_frozen: usize,
}

/// The numbers that a CUDA graph of a step holds. Epochs with equal ones share a graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepConstants {
    /// Size of the training images, px.
    pub image_size: usize,
    /// Constants of the update rule.
    pub update: UpdateConstants,
    /// Fraction of the targets that label smoothing spreads.
    pub smoothing: f64,
    /// Layers, from the first on, that are not trained.
    pub num_frozen: usize,
}

/// One of the constants, as bits.
type StepNumber = fn(StepConstants) -> u64;

/// Graphs that a run captures at most: each takes a tenth of a second before the run, and some
/// megabytes of the GPU.
const MAX_GRAPHS: usize = 48;

/// What the use of weights depends on, or whether the rest of it is valid.
const USAGE_SECTIONS: [&str; 5] = ["run", "model", "data", "loss", "algorithms"];

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

    /// The part of the recipe that says how to use the weights, as TOML: the network, what changes it, and
    /// how images are prepared. It names no place, so that equal runs give equal files.
    pub fn usage(&self) -> String {
        let mut file = self.to_file();
        (file.model.weights, file.model.freeze) = (None, Vec::new());
        (file.data.path, file.data.synth, file.data.order_seed) = (None, None, None);
        // How fast images were read is no property of the weights.
        let data = DataConfig::default();
        (file.data.num_workers, file.data.batches_ahead) = (data.num_workers, data.batches_ahead);
        file.data.train.ram_cache = data.train.ram_cache;
        // Its sizes are in `data`, where a user of the weights may change them.
        file.algorithms.fixres = None;
        let mut table = toml::Table::try_from(&file).expect("`validate::writable` has tried it");
        table.retain(|section, _| USAGE_SECTIONS.contains(&section));
        if let Some(toml::Value::Table(run)) = table.get_mut("run") {
            // Values by epoch are checked against the length of the run.
            run.retain(|key, _| ["max_duration", "scale_schedule_ratio"].contains(&key));
        }
        toml::to_string(&table).expect("it was a table before")
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
        let obstacle = self.algorithms.graph_obstacle();
        obstacle.or_else(|| self.optimizer.graph_obstacle()).or_else(|| self.many_graphs())
    }

    /// Names the values of which there are too many, where a run would need too many graphs.
    fn many_graphs(&self) -> Option<String> {
        self.first_epochs_of_steps().nth(MAX_GRAPHS)?;
        let varies = |value: StepNumber| {
            let mut values = (0..self.run_length.num_epochs).map(|e| value(self.step_constants(e)));
            let first = values.next();
            values.any(|other| Some(other) != first)
        };
        let values: [(&str, StepNumber); 5] = [
            ("the image size", |step| step.image_size as u64),
            ("optimizer.momentum", |step| step.update.momentum.to_bits()),
            ("optimizer.weight_decay", |step| step.update.weight_decay.to_bits()),
            (LabelSmoothing::KEY, |step| step.smoothing.to_bits()),
            ("algorithms.layer_freezing", |step| step.num_frozen as u64),
        ];
        let keys = values.into_iter().filter(|(_, value)| varies(*value)).map(|(key, _)| key);
        let keys: Vec<&str> = keys.collect();
        Some(format!(
            "{} would need more than {MAX_GRAPHS} graphs, one for each combination of values; write \
             parts with one value each in place of ramps, or freeze fewer layers",
            keys.join(" and ")
        ))
    }

    /// What a step of `epoch`, from 0, is captured with.
    pub fn step_constants(&self, epoch: usize) -> StepConstants {
        let EpochValues { update, smoothing, num_frozen, .. } = self.epoch_values[epoch];
        StepConstants { image_size: self.image_sizes[epoch], update, smoothing, num_frozen }
    }

    /// The first epoch, from 0, of each [`StepConstants`] of the run.
    pub fn first_epochs_of_steps(&self) -> impl Iterator<Item = usize> {
        let mut known = Vec::new();
        (0..self.run_length.num_epochs).filter(move |&epoch| {
            let step = self.step_constants(epoch);
            let is_new = !known.contains(&step);
            if is_new {
                known.push(step);
            }
            is_new
        })
    }

    /// Images of a rank in one forward and backward pass; of `"auto"`, at most.
    pub fn microbatch(&self) -> usize {
        match self.train.microbatch {
            Some(Microbatch::Images(images)) => images,
            Some(Microbatch::Auto) | None => self.batch_per_rank,
        }
    }

    /// The learning rate that the run ends with.
    pub fn end_lr(&self) -> f64 {
        match self.optimizer.lr.always() {
            Some(lr) => self.scheduler.end_lr(lr),
            None => self.schedule.lr(self.run_length.total_steps()),
        }
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
