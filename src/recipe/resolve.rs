//! What is true: a recipe checked across its fields, for a known data set and world.
//!
//! [`Recipe::resolve`] is the only place that may say that a recipe is wrong. What comes out has
//! no options left for what a run must have, and is written in full by [`Recipe::to_toml`].

#[cfg(test)]
mod tests;

use std::{
    collections::hash_map::RandomState,
    fmt::Write,
    hash::{BuildHasher, Hasher},
};

use sha2::{Digest, Sha256};

use super::{error::RecipeError, raw::RawRecipe, validate};
use crate::{
    data::{MAX_TORCH_SAMPLES, Order},
    model::ModelSpec,
    optim::{RunLength, Schedule, Time},
    problems::Problems,
};

/// Epochs that a run may have: far above any real run, and small enough for tables by epoch.
const MAX_EPOCHS: usize = 100_000;

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

/// `ImageNet` on one rank, which stands in where no data set is at hand.
pub const IMAGENET: RunContext =
    RunContext { world_size: 1, num_classes: 1000, num_train: 1_281_167, num_eval: 50_000 };

/// A recipe that has been found sound. Immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The file, every default written out.
    pub raw: RawRecipe,
    /// What it was resolved for.
    pub run_context: RunContext,
    /// Seed of the run.
    pub seed: u64,
    /// The network, with every change that methods make to it.
    pub spec: ModelSpec,
    /// Steps and epochs of the run.
    pub run_length: RunLength,
    /// Learning rate by step.
    pub schedule: Schedule,
    /// Side of the training images by epoch, px; index 0 is epoch 1.
    pub image_sizes: Vec<usize>,
    /// Side of the crops that the loader makes by epoch, px.
    pub crop_sizes: Vec<usize>,
    /// Epochs after which to evaluate, from 1, rising.
    pub eval_epochs: Vec<usize>,
    /// Training images of a rank in a step.
    pub batch_per_rank: usize,
    /// Evaluation images of a rank in a step.
    pub eval_batch_per_rank: usize,
}

impl Recipe {
    /// Checks `raw` and works out everything that follows from it in `run_context`.
    pub fn resolve(raw: RawRecipe, run_context: &RunContext) -> Result<Self, RecipeError> {
        let raw = sized(raw);
        validate::validate(&raw)?;
        fits(&raw, run_context)?;
        let raw = filled(raw, run_context);
        validate::writable(&raw)?;
        let run_length = run_length(&raw, run_context)?;
        let sizes = raw.algorithms.image_sizes(raw.data.train.crop_size, run_length.num_epochs);
        Ok(Self {
            seed: raw.run.seed.expect("`filled` puts one in"),
            spec: spec(&raw, run_context)?,
            schedule: schedule(&raw, &run_length)?,
            crop_sizes: sizes.loaded,
            image_sizes: sizes.trained,
            eval_epochs: eval_epochs(&raw, &run_length),
            batch_per_rank: raw.train.batch_size / run_context.world_size,
            eval_batch_per_rank: raw.eval.batch_size / run_context.world_size,
            run_length,
            run_context: run_context.clone(),
            raw,
        })
    }

    /// The recipe as TOML, every default written out: loaded and resolved again in the same
    /// run context, it gives an equal recipe.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.raw).expect("`validate::writable` has tried it")
    }

    /// Why the steps cannot be captured once and replayed; `None` where they can.
    pub fn graph_obstacle(&self) -> Option<String> {
        self.raw.algorithms.graph_obstacle().or_else(|| self.raw.optimizer.graph_obstacle())
    }

    /// Hash of [`Recipe::to_toml`], in hexadecimal digits: names what was run, seed included.
    pub fn sha256(&self) -> String {
        Sha256::digest(self.to_toml()).iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
            hex
        })
    }
}

/// `raw` with the sizes that a method sets.
fn sized(mut raw: RawRecipe) -> RawRecipe {
    raw.algorithms.change_data(&mut raw.data);
    raw
}

/// Checks `raw` against the ranks and the data set that it is to run with.
fn fits(raw: &RawRecipe, run_context: &RunContext) -> Result<(), RecipeError> {
    let RunContext { world_size, num_classes, .. } = *run_context;
    let mut problems = Problems::default();
    if world_size == 0 {
        problems.add("there are no ranks (0); run with 1 or more");
    }
    if num_classes < 2 {
        problems.add(format!(
            "the data set has {num_classes} class, which leaves nothing to tell apart; give one \
             folder for each of 2 or more classes"
        ));
    }
    if ![0, num_classes].contains(&raw.model.num_classes) {
        problems.add(format!(
            "model.num_classes ({}) differs from the data set's ({num_classes}); set it to \
             {num_classes} or remove it",
            raw.model.num_classes
        ));
    }
    if raw.data.order == Order::Torch && run_context.num_train > MAX_TORCH_SAMPLES {
        problems.add(format!(
            "data.order (torch) is known for up to {MAX_TORCH_SAMPLES} training images and there are \
             {}; set data.order = \"keyed\"",
            run_context.num_train
        ));
    }
    if run_context.num_eval == 0 {
        problems.add("the data set has no validation images (0); add some");
    }
    for (key, batch) in
        [("train.batch_size", raw.train.batch_size), ("eval.batch_size", raw.eval.batch_size)]
    {
        if world_size > 0 && batch % world_size != 0 {
            problems.add(format!(
                "{key} ({batch}) cannot be shared out evenly to {world_size} ranks; set it to {} \
                 or change the number of ranks",
                batch.div_ceil(world_size).saturating_mul(world_size)
            ));
        }
    }
    if world_size > 0 && steps_per_epoch(raw, run_context) == 0 {
        problems.add(format!(
            "train.batch_size ({}) exceeds the training images ({}), so that an epoch has no step; \
             lower train.batch_size or add images",
            raw.train.batch_size, run_context.num_train
        ));
    }
    RecipeError::unless_sound(problems)
}

/// `raw` with every value written out that it left to the run context.
fn filled(mut raw: RawRecipe, run_context: &RunContext) -> RawRecipe {
    let seed = *raw.run.seed.get_or_insert_with(random_seed);
    raw.data.order_seed.get_or_insert(seed);
    raw.run.num_ranks = run_context.world_size;
    raw.model.num_classes = run_context.num_classes;
    if raw.eval.batch_size == 0 {
        raw.eval.batch_size = raw.train.batch_size;
    }
    raw.optimizer = raw.optimizer.filled();
    raw.scheduler = raw.scheduler.filled();
    raw
}

/// A seed from the system's randomness, short enough to be read out.
fn random_seed() -> u64 {
    // std seeds every hasher from the operating system.
    u64::from(RandomState::new().build_hasher().finish() as u32)
}

/// Steps in each rank's shard: what does not fill a batch sits the epoch out, unless `drop_last`
/// says otherwise.
fn steps_per_epoch(raw: &RawRecipe, run_context: &RunContext) -> usize {
    let shard = raw.data.order.shard_len(run_context.num_train, run_context.world_size);
    match raw.train.batch_size / run_context.world_size {
        0 => 0,
        batch if raw.data.drop_last => shard / batch,
        batch => shard.div_ceil(batch),
    }
}

fn run_length(raw: &RawRecipe, run_context: &RunContext) -> Result<RunLength, RecipeError> {
    let steps_per_epoch = steps_per_epoch(raw, run_context);
    let batch_size = raw.train.batch_size;
    let num_epochs = num_epochs(raw, steps_per_epoch);
    let mut problems = Problems::default();
    if num_epochs == 0 {
        problems.add(format!(
            "run.max_duration ({}) times scale_schedule_ratio ({}) is less than one epoch; raise \
             one of them",
            raw.run.max_duration, raw.run.scale_schedule_ratio
        ));
    }
    let countable =
        steps_per_epoch.checked_mul(num_epochs).and_then(|steps| steps.checked_mul(batch_size));
    if num_epochs > MAX_EPOCHS || countable.is_none() {
        problems.add(format!(
            "run.max_duration ({}) makes {num_epochs} epochs; stay within {MAX_EPOCHS}",
            raw.run.max_duration
        ));
    }
    RecipeError::unless_sound(problems)?;
    Ok(RunLength { steps_per_epoch, num_epochs, batch_size })
}

/// Whole epochs of the run: Composer cuts the scaled length off to a whole number of its own unit;
/// steps and samples are then rounded up to whole epochs.
fn num_epochs(raw: &RawRecipe, steps_per_epoch: usize) -> usize {
    let scaled = |length: f64| (length * raw.run.scale_schedule_ratio) as usize;
    match raw.run.max_duration {
        Time::Epochs(n) => scaled(n),
        Time::Steps(n) => scaled(n as f64).div_ceil(steps_per_epoch),
        Time::Samples(n) => {
            scaled(n as f64).div_ceil(raw.train.batch_size).div_ceil(steps_per_epoch)
        }
        Time::Fraction(_) => 0,
    }
}

/// The network with every change that methods make to it.
fn spec(raw: &RawRecipe, run_context: &RunContext) -> Result<ModelSpec, RecipeError> {
    let mut spec = raw.model.spec(run_context.num_classes);
    raw.algorithms.change_model(&mut spec);
    let mut problems = Problems::default();
    raw.algorithms.check_model(&spec, &mut problems);
    RecipeError::unless_sound(problems)?;
    Ok(spec)
}

fn schedule(raw: &RawRecipe, run_length: &RunLength) -> Result<Schedule, RecipeError> {
    let mut config = raw.scheduler.clone();
    let ratio = raw.run.scale_schedule_ratio;
    if raw.run.scale_warmup {
        config.t_warmup = scaled(config.t_warmup, ratio, run_length);
    }
    for milestone in config.milestones.iter_mut().flatten() {
        *milestone = scaled(*milestone, ratio, run_length);
    }
    let mut problems = Problems::default();
    if config.t_warmup.to_steps(run_length) > run_length.total_steps() {
        problems.add(format!(
            "scheduler.t_warmup ({}) exceeds the run ({} epochs of {} steps); lower \
             scheduler.t_warmup or raise run.max_duration",
            raw.scheduler.t_warmup, run_length.num_epochs, run_length.steps_per_epoch
        ));
    }
    RecipeError::unless_sound(problems)?;
    Ok(Schedule::new(&config, raw.optimizer.lr, run_length))
}

/// `length` times `ratio`, in whole steps; a share of the run has been scaled with the run.
fn scaled(length: Time, ratio: f64, run_length: &RunLength) -> Time {
    match length {
        Time::Fraction(_) => length,
        length => Time::Steps((length.to_steps(run_length) as f64 * ratio) as u64),
    }
}

/// Multiples of the interval, shifted by the offset, from the start on; the last epoch always.
fn eval_epochs(raw: &RawRecipe, run_length: &RunLength) -> Vec<usize> {
    let interval = whole_epochs(raw.eval.interval, run_length).max(1);
    let start = whole_epochs(raw.eval.start, run_length);
    let offset = whole_epochs(raw.eval.offset, run_length) % interval;
    let last = run_length.num_epochs;
    (1..=last).filter(|e| (e % interval == offset && *e >= start) || *e == last).collect()
}

/// `length` in epochs, rounded up: there is no evaluation within an epoch.
fn whole_epochs(length: Time, run_length: &RunLength) -> usize {
    match length {
        Time::Epochs(n) => n.ceil() as usize,
        Time::Fraction(f) => (f * run_length.num_epochs as f64).ceil() as usize,
        Time::Steps(n) => (n as usize).div_ceil(run_length.steps_per_epoch),
        Time::Samples(n) => {
            (n as usize).div_ceil(run_length.batch_size).div_ceil(run_length.steps_per_epoch)
        }
    }
}
