//! Checks a recipe across its fields, for a known data set and world size, and settles its values.
//!
//! Only [`Recipe::resolve`] may say that a recipe is wrong. Its result leaves nothing optional
//! that a run must have, and [`Recipe::to_toml`] writes it in full.

#[cfg(test)]
mod tests;

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

use super::{
    error::RecipeError,
    file::RecipeFile,
    microbatch::{Microbatch, halved},
    resolved::{EpochValues, Recipe, RunContext},
    validate,
};
use crate::{
    algorithms::LabelSmoothing,
    data::{MAX_TORCH_SAMPLES, Order},
    model::ModelSpec,
    optim::{RunLength, Schedule, Time, UpdateConstants},
    problems::Problems,
    tensor_name::is_in_module,
};

/// Most epochs of a run: far above any real run, and small enough for tables by epoch.
const MAX_EPOCHS: usize = 100_000;

impl Recipe {
    /// Checks `file` and computes everything that follows from it in `run_context`.
    pub fn resolve(file: RecipeFile, run_context: &RunContext) -> Result<Self, RecipeError> {
        let file = sized(file);
        validate::validate(&file)?;
        fits(&file, run_context)?;
        let file = filled(file, run_context);
        validate::writable(&file)?;
        let run_length = run_length(&file, run_context)?;
        let (spec, schedule) = (spec(&file, run_context)?, schedule(&file, &run_length)?);
        let (crop_sizes, epoch_values) = by_epoch(&file, &run_length, spec.num_layers())?;
        let sizes = file.algorithms.image_sizes(crop_sizes);
        let seed = file.run.seed.expect("`filled` draws one");
        Ok(Self {
            seed,
            spec,
            schedule,
            crop_sizes: sizes.loaded,
            image_sizes: sizes.trained,
            epoch_values,
            eval_epochs: eval_epochs(&file, &run_length),
            batch_per_rank: file.train.batch_size / run_context.world_size,
            eval_batch_per_rank: file.eval.batch_size / run_context.world_size,
            run_length,
            run_context: run_context.clone(),
            run: file.run,
            mlperf: file.mlperf,
            model: file.model,
            data: file.data,
            train: file.train,
            optimizer: file.optimizer,
            scheduler: file.scheduler,
            loss: file.loss,
            eval: file.eval,
            algorithms: file.algorithms,
        })
    }
}

/// `file` with the sizes that a method sets.
fn sized(mut file: RecipeFile) -> RecipeFile {
    file.algorithms.change_data(&mut file.data);
    file
}

/// Checks `file` against the ranks and the data set of `run_context`.
fn fits(file: &RecipeFile, run_context: &RunContext) -> Result<(), RecipeError> {
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
    if ![0, num_classes].contains(&file.model.num_classes) {
        problems.add(format!(
            "model.num_classes ({}) differs from the data set's ({num_classes}); set it to \
             {num_classes} or remove it",
            file.model.num_classes
        ));
    }
    if file.data.order == Order::Torch && run_context.num_train > MAX_TORCH_SAMPLES {
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
        [("train.batch_size", file.train.batch_size), ("eval.batch_size", file.eval.batch_size)]
    {
        if world_size > 0 && batch % world_size != 0 {
            problems.add(format!(
                "{key} ({batch}) cannot be shared out evenly to {world_size} ranks; set it to {} \
                 or change the number of ranks",
                batch.div_ceil(world_size).saturating_mul(world_size)
            ));
        }
    }
    if let Some(Microbatch::Images(images)) = file.train.microbatch
        && let Some(batch) = file.train.batch_size.checked_div(world_size)
        && !batch.is_multiple_of(images)
    {
        problems.add(format!(
            "train.microbatch ({images}) does not divide a rank's images in a step ({batch}); set it to \
             {} or remove it",
            halved(batch, 2 * images.min(batch)).unwrap_or(1)
        ));
    }
    if world_size > 0 && steps_per_epoch(file, run_context) == 0 {
        problems.add(format!(
            "train.batch_size ({}) exceeds the training images ({}), so that an epoch has no step; \
             lower train.batch_size or add images",
            file.train.batch_size, run_context.num_train
        ));
    }
    RecipeError::unless_sound(problems)
}

/// `file` with the values that it leaves to the run context.
fn filled(mut file: RecipeFile, run_context: &RunContext) -> RecipeFile {
    let seed = *file.run.seed.get_or_insert_with(random_seed);
    file.data.order_seed.get_or_insert(seed);
    file.run.num_ranks = run_context.world_size;
    file.model.num_classes = run_context.num_classes;
    if file.eval.batch_size == 0 {
        file.eval.batch_size = file.train.batch_size;
    }
    file.optimizer = file.optimizer.filled();
    file.scheduler = file.scheduler.filled();
    file
}

/// A random seed, short enough to read aloud.
fn random_seed() -> u64 {
    // std seeds every hasher from the operating system.
    u64::from(RandomState::new().build_hasher().finish() as u32)
}

/// Steps of an epoch on each rank. With `drop_last`, images that do not fill a batch are left out of
/// the epoch.
fn steps_per_epoch(file: &RecipeFile, run_context: &RunContext) -> usize {
    let shard = file.data.order.shard_len(run_context.num_train, run_context.world_size);
    match file.train.batch_size / run_context.world_size {
        0 => 0,
        batch if file.data.drop_last => shard / batch,
        batch => shard.div_ceil(batch),
    }
}

fn run_length(file: &RecipeFile, run_context: &RunContext) -> Result<RunLength, RecipeError> {
    let steps_per_epoch = steps_per_epoch(file, run_context);
    let batch_size = file.train.batch_size;
    let num_epochs = num_epochs(file, steps_per_epoch);
    let mut problems = Problems::default();
    if num_epochs == 0 {
        problems.add(format!(
            "run.max_duration ({}) times scale_schedule_ratio ({}) is less than one epoch; raise \
             one of them",
            file.run.max_duration, file.run.scale_schedule_ratio
        ));
    }
    let countable =
        steps_per_epoch.checked_mul(num_epochs).and_then(|steps| steps.checked_mul(batch_size));
    if num_epochs > MAX_EPOCHS || countable.is_none() {
        problems.add(format!(
            "run.max_duration ({}) makes {num_epochs} epochs; stay within {MAX_EPOCHS}",
            file.run.max_duration
        ));
    }
    RecipeError::unless_sound(problems)?;
    Ok(RunLength { steps_per_epoch, num_epochs, batch_size })
}

/// Whole epochs of the run. Like Composer, the scaled length is truncated to a whole number of its
/// unit; steps and samples are then rounded up to whole epochs.
fn num_epochs(file: &RecipeFile, steps_per_epoch: usize) -> usize {
    let scaled = |length: f64| (length * file.run.scale_schedule_ratio) as usize;
    match file.run.max_duration {
        Time::Epochs(n) => scaled(n),
        Time::Steps(n) => scaled(n as f64).div_ceil(steps_per_epoch),
        Time::Samples(n) => {
            scaled(n as f64).div_ceil(file.train.batch_size).div_ceil(steps_per_epoch)
        }
        Time::Fraction(_) => 0,
    }
}

/// The network with every change that methods make to it.
fn spec(file: &RecipeFile, run_context: &RunContext) -> Result<ModelSpec, RecipeError> {
    let mut spec = file.model.spec(run_context.num_classes);
    file.algorithms.change_model(&mut spec);
    let mut problems = Problems::default();
    file.algorithms.check_model(&spec, &mut problems);
    modules(file, &spec, &mut problems);
    RecipeError::unless_sound(problems)?;
    Ok(spec)
}

/// Checks the layers, blocks and stages that `file` names.
fn modules(file: &RecipeFile, spec: &ModelSpec, problems: &mut Problems) {
    let others = file.optimizer.others.iter().flat_map(|others| others.lr_multipliers.keys());
    let multiplied = file.optimizer.lr_multipliers.keys().chain(others);
    let named = file.model.freeze.iter().map(|module| ("model.freeze", module));
    let named = named.chain(multiplied.map(|module| ("optimizer.lr_multipliers", module)));
    for (key, module) in named.filter(|(_, module)| !spec.has_module(module)) {
        let stages: Vec<_> = (1..=spec.depths.len()).map(|stage| format!("layer{stage}")).collect();
        problems.add(format!(
            "{key} names {module}, which the network does not have; name stages ({}), blocks (layer1.0) \
             or layers (conv1, bn1, layer1.0.conv1, fc)",
            stages.join(", ")
        ));
    }
    if !file.model.freeze.is_empty() && file.model.weights.is_none() {
        problems.add("model.freeze keeps random weights; name trained ones with model.weights");
    }
    let is_frozen = |name: &str| file.model.freeze.iter().any(|module| is_in_module(name, module));
    let shapes = spec.tensor_shapes();
    if shapes.iter().all(|tensor| is_frozen(&tensor.name)) {
        problems.add("model.freeze names every layer, so that nothing is trained; leave out fc");
    } else if file.algorithms.layer_freezing.is_some() && is_frozen(&shapes[shapes.len() - 1].name)
    {
        problems.add(
            "model.freeze names the last layer (fc), the only one that algorithms.layer_freezing goes on \
             training; leave fc out of model.freeze",
        );
    }
}

fn schedule(file: &RecipeFile, run_length: &RunLength) -> Result<Schedule, RecipeError> {
    let mut config = file.scheduler.clone();
    let ratio = file.run.scale_schedule_ratio;
    if file.run.scale_warmup {
        config.t_warmup = config.t_warmup.scaled(ratio, run_length);
    }
    for milestone in config.milestones.iter_mut().flatten() {
        *milestone = milestone.scaled(ratio, run_length);
    }
    let mut problems = Problems::default();
    if config.t_warmup.to_steps(run_length) > run_length.total_steps() {
        problems.add(format!(
            "scheduler.t_warmup ({}) exceeds the run ({} epochs of {} steps); lower \
             scheduler.t_warmup or raise run.max_duration",
            file.scheduler.t_warmup, run_length.num_epochs, run_length.steps_per_epoch
        ));
    }
    RecipeError::unless_sound(problems)?;
    let schedule = Schedule::new(&config, file.optimizer.lr.peak(), run_length);
    if !file.optimizer.lr.changes() {
        return Ok(schedule);
    }
    let mut problems = Problems::default();
    let spans = file.optimizer.lr.spans("optimizer.lr", (run_length, ratio), &mut problems);
    RecipeError::unless_sound(problems)?;
    Ok(schedule.listed(spans))
}

/// Crop sizes and other values by epoch, of a network of `num_layers`.
fn by_epoch(
    file: &RecipeFile,
    run_length: &RunLength,
    num_layers: usize,
) -> Result<(Vec<usize>, Vec<EpochValues>), RecipeError> {
    let run = (run_length, file.run.scale_schedule_ratio);
    let mut problems = Problems::default();
    let p = &mut problems;
    let (train, optimizer) = (&file.data.train, &file.optimizer);
    let crop_sizes = train.crop_size.by_epoch("data.train.crop_size", run, p);
    let scales = train.scale.by_epoch("data.train.scale", run, p);
    let ratios = train.ratio.by_epoch("data.train.ratio", run, p);
    let momenta = optimizer.momentum.by_epoch("optimizer.momentum", run, p);
    let decays = optimizer.weight_decay.by_epoch("optimizer.weight_decay", run, p);
    let smoothing = file.algorithms.label_smoothing.as_ref();
    let smoothing = smoothing.map_or(0.0.into(), |method| method.smoothing.clone());
    let smoothing = smoothing.by_epoch(LabelSmoothing::KEY, run, p);
    RecipeError::unless_sound(problems)?;
    let num_epochs = run_length.num_epochs;
    let freezing = file.algorithms.layer_freezing.as_ref();
    let values = (0..num_epochs).map(|epoch| EpochValues {
        transform: train.transform(scales[epoch], ratios[epoch]),
        update: UpdateConstants { momentum: momenta[epoch], weight_decay: decays[epoch] },
        smoothing: smoothing[epoch],
        num_frozen: freezing.map_or(0, |it| it.num_frozen(epoch, num_epochs, num_layers)),
    });
    Ok((crop_sizes, values.collect()))
}

/// Multiples of the interval, shifted by the offset, from the start on; the last epoch always.
fn eval_epochs(file: &RecipeFile, run_length: &RunLength) -> Vec<usize> {
    let interval = whole_epochs(file.eval.interval, run_length).max(1);
    let start = whole_epochs(file.eval.start, run_length);
    let offset = whole_epochs(file.eval.offset, run_length) % interval;
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
