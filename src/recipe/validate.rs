//! Checks of a recipe that need no data set: each section by itself, then across sections.
//!
//! Every problem is collected, so that one look is enough to repair a recipe.

use super::{
    closed,
    config::{DeviceChoice, Precision},
    error::RecipeError,
    file::RecipeFile,
    microbatch::Microbatch,
};
use crate::{
    data::{
        DataConfig, EvalTransform, MAX_BATCHES_AHEAD, MAX_THREADS, Order, SynthConfig,
        TrainDataConfig,
    },
    mlperf::Division,
    model::{Arch, CustomConfig, ModelConfig},
    optim::{ScheduleName, Time},
    problems::Problems,
};

/// Rulesets of MLPerf Training whose ResNet rules are known.
const RULESETS: [&str; 5] = ["2.0.0", "2.1.0", "3.0.0", "3.1.0", "4.0.0"];
/// Values of `submission_status` that the logging checker takes.
const STATUSES: [&str; 4] = ["cloud", "onprem", "preview", "research"];

const MAX_BATCH: usize = 1 << 24;
const MAX_TIMEOUT_S: u64 = 24 * 60 * 60;

/// Checks all that can be checked without a data set.
pub(super) fn validate(file: &RecipeFile) -> Result<(), RecipeError> {
    let mut problems = Problems::default();
    let p = &mut problems;
    run(file, p);
    mlperf(file, p);
    model(&file.model, p);
    data(&file.data, p);
    train(file, p);
    file.optimizer.check(p);
    file.scheduler.check(p);
    listed_rate(file, p);
    file.algorithms.check(&file.data, p);
    RecipeError::unless_sound(problems)
}

/// Refuses what TOML cannot hold: integers from 2^63 and paths that are not UTF-8.
pub(super) fn writable(file: &RecipeFile) -> Result<(), RecipeError> {
    let mut problems = Problems::default();
    if let Err(error) = toml::Table::try_from(file) {
        problems.add(format!(
            "a value cannot be written as TOML ({error}); keep numbers below 2^63 and paths UTF-8"
        ));
    }
    RecipeError::unless_sound(problems)
}

fn run(file: &RecipeFile, p: &mut Problems) {
    let run = &file.run;
    if run.name.contains(['/', '\\', '\0']) || run.name.starts_with('.') {
        p.add(format!(
            "run.name ('{}') names a folder; write it without slashes and leading dots",
            run.name
        ));
    }
    p.above_zero("run.scale_schedule_ratio", run.scale_schedule_ratio);
    match run.max_duration {
        Time::Fraction(_) => p.add(format!(
            "run.max_duration ({}) is a share of itself; write epochs (\"90ep\"), steps (\"1000ba\") \
             or samples (\"64000sp\")",
            run.max_duration
        )),
        length => length.check("run.max_duration", p),
    }
}

fn mlperf(file: &RecipeFile, p: &mut Problems) {
    let mlperf = &file.mlperf;
    if !RULESETS.contains(&mlperf.ruleset.as_str()) {
        let known = RULESETS.join(", ");
        p.add(format!("mlperf.ruleset ({}) is not known; use one of {known}", mlperf.ruleset));
    }
    if !STATUSES.contains(&mlperf.status.as_str()) {
        let known = STATUSES.join(", ");
        p.add(format!("mlperf.status ({}) is not known; use one of {known}", mlperf.status));
    }
    if !(mlperf.target > 0.0 && mlperf.target < 1.0) {
        p.add(format!(
            "mlperf.target ({}) must lie between 0 and 1; 75.9 % is written 0.759",
            mlperf.target
        ));
    }
    p.one_or_more("mlperf.runs", mlperf.runs);
    let open_only = closed::open_only(file);
    if mlperf.division == Division::Closed && !open_only.is_empty() {
        p.add(format!(
            "mlperf.division is closed, which does not allow {}; change them or set \
             mlperf.division = \"open\"",
            open_only.join(", ")
        ));
    }
}

fn model(model: &ModelConfig, p: &mut Problems) {
    match (model.arch, &model.custom) {
        (Arch::Custom, None) => {
            p.add("model.arch is custom and there is no [model.custom]; add it or name a network");
        }
        (Arch::Custom, Some(custom)) => custom_network(custom, p),
        (_, Some(_)) => p.add(
            "[model.custom] is there and model.arch is not custom; set model.arch = \"custom\" or \
             remove [model.custom]",
        ),
        (_, None) => {}
    }
    if model.num_classes == 1 {
        p.add(
            "model.num_classes (1) leaves nothing to tell apart; give 2 or more, or 0 for as \
               many as the data set has",
        );
    }
    if !(3..=8).contains(&model.input_channels) {
        p.add(format!(
            "model.input_channels ({}) must be from 3 to 8; 3 pads nothing",
            model.input_channels
        ));
    }
    p.zero_to_one("model.bn_momentum", model.bn_momentum);
    p.above_zero("model.bn_eps", model.bn_eps);
}

fn custom_network(custom: &CustomConfig, p: &mut Problems) {
    p.one_or_more("model.custom.width", custom.width);
    let depths = &custom.depths;
    if depths.is_empty() || depths.len() > 4 || depths.contains(&0) {
        p.add(format!(
            "model.custom.depths ({depths:?}) must list the blocks of one to four stages, each 1 or \
             more"
        ));
    }
}

fn data(data: &DataConfig, p: &mut Problems) {
    if let (Some(path), Some(_)) = (&data.path, &data.synth) {
        p.add(format!(
            "data.path ({}) and [data.synth] are both there; remove one",
            path.display()
        ));
    }
    for (key, values) in [("data.mean", data.mean), ("data.std", data.std)] {
        if values.iter().any(|value| !value.is_finite()) {
            p.add(format!("{key} ({values:?}) must be finite numbers"));
        }
    }
    if data.std.iter().any(|value| *value <= 0.0) {
        p.add(format!("data.std ({:?}) must be above 0 in every channel", data.std));
    }
    if data.train.block_shuffle && data.order == Order::Torch {
        p.add(
            "data.train.block_shuffle is an order of its own and data.order is torch; set \
             data.order = \"keyed\" or block_shuffle = false",
        );
    }
    if data.num_workers > MAX_THREADS {
        p.add(format!(
            "data.num_workers ({}) must be at most {MAX_THREADS}; 0 takes this machine's cores",
            data.num_workers
        ));
    }
    if !(1..=MAX_BATCHES_AHEAD).contains(&data.batches_ahead) {
        p.add(format!(
            "data.batches_ahead ({}) must be from 1 to {MAX_BATCHES_AHEAD}; 2 is enough for most disks",
            data.batches_ahead
        ));
    }
    train_crops(&data.train, p);
    eval_crops(&data.eval, p);
    if let Some(synth) = &data.synth {
        synthetic(synth, p);
    }
}

/// A learning rate that changes by epoch leaves nothing to the schedule.
fn listed_rate(file: &RecipeFile, p: &mut Problems) {
    let scheduler = &file.scheduler;
    let warms_up = !matches!(scheduler.t_warmup, Time::Epochs(0.0) | Time::Fraction(0.0));
    let warms_up = warms_up && !matches!(scheduler.t_warmup, Time::Steps(0) | Time::Samples(0));
    if file.optimizer.lr.changes() && (scheduler.name != ScheduleName::Constant || warms_up) {
        p.add(format!(
            "optimizer.lr changes by epoch, and so does the schedule (scheduler.name = \"{}\", \
             t_warmup = \"{}\"); set scheduler.name = \"constant\" and scheduler.t_warmup = \"0ep\", \
             or write one optimizer.lr",
            scheduler.name.as_str(),
            scheduler.t_warmup
        ));
    }
}

fn train_crops(train: &TrainDataConfig, p: &mut Problems) {
    train.crop_size.check("data.train.crop_size", p, |key, size, p| p.image_size(key, size));
    p.zero_to_one("data.train.hflip", train.hflip);
    p.above_zero("data.train.store_scale", train.store_scale);
    train.scale.check("data.train.scale", p, |key, [least, most], p| {
        rising(key, [least, most], p);
        if most > 1.0 {
            p.add(format!("{key} ([{least}, {most}]) is a share of the image; keep it at most 1"));
        }
    });
    train.ratio.check("data.train.ratio", p, rising);
}

/// Requires two numbers above 0, the larger one last.
fn rising(key: &str, [least, most]: [f64; 2], p: &mut Problems) {
    p.above_zero(key, least);
    p.above_zero(key, most);
    if least > most {
        p.add(format!("{key} ([{least}, {most}]) must rise; exchange the two"));
    }
}

fn eval_crops(eval: &EvalTransform, p: &mut Problems) {
    p.image_size("data.eval.crop_size", eval.crop_size);
    p.image_size("data.eval.resize_size", eval.resize_size);
    if eval.crop_size > eval.resize_size {
        p.add(format!(
            "data.eval.crop_size ({}) exceeds resize_size ({}), which it is cut from; lower \
             crop_size or raise resize_size",
            eval.crop_size, eval.resize_size
        ));
    }
}

fn synthetic(synth: &SynthConfig, p: &mut Problems) {
    for (key, count) in [
        ("data.synth.num_train", synth.num_train),
        ("data.synth.num_eval", synth.num_eval),
        ("data.synth.size", synth.size),
    ] {
        p.one_or_more(key, count);
    }
    if synth.num_classes < 2 {
        p.add(format!("data.synth.num_classes ({}) must be 2 or more", synth.num_classes));
    }
    p.zero_to_one("data.synth.difficulty", synth.difficulty);
    if !(0.25..=4.0).contains(&synth.texture_scale) {
        p.add(format!("data.synth.texture_scale ({}) must be from 0.25 to 4", synth.texture_scale));
    }
    let [smallest, largest] = synth.object_size;
    if !(0.05 <= smallest && smallest <= largest && largest <= 1.0) {
        p.add(format!(
            "data.synth.object_size ({:?}) must be two fractions from 0.05 to 1, the smaller one first",
            synth.object_size
        ));
    }
}

fn train(file: &RecipeFile, p: &mut Problems) {
    p.one_or_more("train.batch_size", file.train.batch_size);
    for (key, num) in
        [("train.batch_size", file.train.batch_size), ("eval.batch_size", file.eval.batch_size)]
    {
        if num > MAX_BATCH {
            p.add(format!("{key} ({num}) must be at most {MAX_BATCH} images"));
        }
    }
    if file.train.microbatch == Some(Microbatch::Images(0)) {
        p.one_or_more("train.microbatch", 0);
    }
    p.one_or_more("train.ddp.bucket_mb", file.train.ddp.bucket_mb);
    let watch = &file.train.watch;
    for (key, timeout_s) in [
        ("train.ddp.timeout_s", file.train.ddp.timeout_s),
        ("train.watch.stopped_timeout_s", watch.stopped_timeout_s),
        ("train.watch.stall_timeout_s", watch.stall_timeout_s),
        ("train.watch.join_timeout_s", watch.join_timeout_s),
        ("train.watch.start_timeout_s", watch.start_timeout_s),
    ] {
        if !(1..=MAX_TIMEOUT_S).contains(&timeout_s) {
            p.add(format!("{key} ({timeout_s}) must be from 1 to {MAX_TIMEOUT_S}, a day"));
        }
    }
    file.train.checkpoint.check(p);
    p.above_zero("train.grad_scaler.init_scale", file.train.grad_scaler.init_scale);
    p.one_or_more("train.grad_scaler.growth_interval", file.train.grad_scaler.growth_interval);
    for (key, precision) in
        [("train.precision", file.train.precision), ("eval.precision", file.eval.precision)]
    {
        if precision == Precision::AmpFp16 && file.run.device == DeviceChoice::Cpu {
            p.add(format!(
                "{key} (amp_fp16) needs a GPU and run.device is cpu; set {key} to fp32 or amp_bf16"
            ));
        }
    }
    if file.eval.precision == Precision::Fp64 {
        p.add(
            "eval.precision (fp64) follows the weights, which train.precision = \"fp64\" makes; \
             remove the key",
        );
    }
    file.eval.interval.check_positive("eval.interval", p);
    file.eval.start.check("eval.start", p);
    file.eval.offset.check("eval.offset", p);
}
