//! Checks of a recipe that need no data set: each section by itself, then across sections.
//!
//! Every problem is collected, so that one look is enough to repair a recipe.

use super::{
    closed,
    config::{DeviceChoice, Division, Precision},
    error::RecipeError,
    methods, optimizer_checks,
    raw::RawRecipe,
};
use crate::{
    data::{
        DataConfig, EvalTransform, MAX_BATCHES_AHEAD, MAX_THREADS, Order, SynthConfig,
        TrainTransform,
    },
    model::{Arch, Block, Blur, CustomConfig, ModelConfig, ModelSpec},
    optim::Time,
};

/// Rulesets of MLPerf Training whose ResNet rules are known.
const RULESETS: [&str; 5] = ["2.0.0", "2.1.0", "3.0.0", "3.1.0", "4.0.0"];
/// Values of `submission_status` that the logging checker takes.
const STATUSES: [&str; 4] = ["cloud", "onprem", "preview", "research"];

/// Of images, px: larger ones are typing errors, and their batches exceed every memory.
const MAX_SIDE: usize = 8192;
const MAX_BATCH: usize = 1 << 24;
const MAX_TIMEOUT_S: u64 = 24 * 60 * 60;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    /// Adds a sentence: key, value, cure.
    pub(super) fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// An error if there is any.
    pub(super) fn into_result(self) -> Result<(), RecipeError> {
        if self.0.is_empty() { Ok(()) } else { Err(RecipeError::Invalid(self.0)) }
    }

    pub(super) fn above_zero(&mut self, key: &str, value: f64) {
        if !(value.is_finite() && value > 0.0) {
            self.add(format!("{key} ({value}) must be a finite number above 0"));
        }
    }

    pub(super) fn at_least_zero(&mut self, key: &str, value: f64) {
        if !(value.is_finite() && value >= 0.0) {
            self.add(format!("{key} ({value}) must be a finite number from 0"));
        }
    }

    pub(super) fn zero_to_one(&mut self, key: &str, value: f64) {
        if !(0.0..=1.0).contains(&value) {
            self.add(format!("{key} ({value}) must be from 0 to 1"));
        }
    }

    pub(super) fn zero_to_below_one(&mut self, key: &str, value: f64) {
        if !(0.0..1.0).contains(&value) {
            self.add(format!("{key} ({value}) must be from 0 to below 1"));
        }
    }

    /// Refuses a length of nothing.
    pub(super) fn positive_time(&mut self, key: &str, length: Time) {
        time(key, length, self);
        if matches!(
            length,
            Time::Steps(0) | Time::Samples(0) | Time::Epochs(0.0) | Time::Fraction(0.0)
        ) {
            self.add(format!("{key} ({length}) must be above 0"));
        }
    }

    /// Of an image, px.
    pub(super) fn image_size(&mut self, key: &str, value: usize) {
        if !(1..=MAX_SIDE).contains(&value) {
            self.add(format!("{key} ({value}) must be from 1 to {MAX_SIDE} px"));
        }
    }

    pub(super) fn one_or_more(&mut self, key: &str, value: usize) {
        if value == 0 {
            self.add(format!("{key} (0) must be 1 or more"));
        }
    }
}

/// Checks all that can be checked without a data set.
pub(super) fn validate(raw: &RawRecipe) -> Result<(), RecipeError> {
    let mut problems = Problems::default();
    let p = &mut problems;
    run(raw, p);
    mlperf(raw, p);
    model(&raw.model, p);
    data(&raw.data, p);
    train(raw, p);
    optimizer_checks::optimizer("optimizer", &raw.optimizer, p);
    optimizer_checks::scheduler(&raw.scheduler, p);
    methods::methods(raw, p);
    problems.into_result()
}

/// Refuses what TOML cannot hold: integers from 2^63 and paths that are not UTF-8.
pub(super) fn writable(raw: &RawRecipe) -> Result<(), RecipeError> {
    let mut problems = Problems::default();
    if let Err(error) = toml::Table::try_from(raw) {
        problems.add(format!(
            "a value cannot be written as TOML ({error}); keep numbers below 2^63 and paths UTF-8"
        ));
    }
    problems.into_result()
}

/// Refuses a blur that finds no layer to act on.
pub(super) fn blur(spec: &ModelSpec, blur: &Blur) -> Result<(), RecipeError> {
    let mut problems = Problems::default();
    let widest = widest_strided_input(spec);
    if !blur.maxpools && !blur.convs {
        problems.add(
            "algorithms.blurpool changes nothing: replace_convs and replace_maxpools are false; \
             set one to true or remove the table",
        );
    } else if !blur.maxpools && widest < blur.min_channels {
        problems.add(format!(
            "algorithms.blurpool changes nothing: no strided convolution has min_channels ({}) \
             channels in (the widest has {widest}); lower min_channels or remove the table",
            blur.min_channels
        ));
    }
    problems.into_result()
}

/// Most channels that a strided convolution of the network takes in: the shortcut of the last
/// stage, or the stem's 3 where there is one stage only.
fn widest_strided_input(spec: &ModelSpec) -> usize {
    let expansion = match spec.block {
        Block::Basic => 1,
        Block::Bottleneck => 4,
    };
    match spec.depths.len() {
        0 | 1 => 3,
        stages => spec.width.saturating_mul(expansion << (stages - 2)),
    }
}

fn run(raw: &RawRecipe, p: &mut Problems) {
    let run = &raw.run;
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
        length => time("run.max_duration", length, p),
    }
}

/// Refuses lengths that did not pass the parser.
pub(super) fn time(key: &str, length: Time, p: &mut Problems) {
    if let Time::Epochs(n) | Time::Fraction(n) = length {
        p.at_least_zero(key, n);
    }
}

fn mlperf(raw: &RawRecipe, p: &mut Problems) {
    let mlperf = &raw.mlperf;
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
    let open_only = closed::open_only(raw);
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

fn train_crops(train: &TrainTransform, p: &mut Problems) {
    p.image_size("data.train.crop_size", train.crop_size);
    p.zero_to_one("data.train.hflip", train.hflip);
    p.above_zero("data.train.store_scale", train.store_scale);
    for (key, [least, most]) in
        [("data.train.scale", train.scale), ("data.train.ratio", train.ratio)]
    {
        p.above_zero(key, least);
        p.above_zero(key, most);
        if least > most {
            p.add(format!("{key} ([{least}, {most}]) must rise; exchange the two"));
        }
    }
    if train.scale[1] > 1.0 {
        p.add(format!(
            "data.train.scale ({:?}) is a share of the image; keep it at most 1",
            train.scale
        ));
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
}

fn train(raw: &RawRecipe, p: &mut Problems) {
    p.one_or_more("train.batch_size", raw.train.batch_size);
    for (key, num) in
        [("train.batch_size", raw.train.batch_size), ("eval.batch_size", raw.eval.batch_size)]
    {
        if num > MAX_BATCH {
            p.add(format!("{key} ({num}) must be at most {MAX_BATCH} images"));
        }
    }
    p.one_or_more("train.ddp.bucket_mb", raw.train.ddp.bucket_mb);
    let timeout_s = raw.train.ddp.timeout_s;
    if !(1..=MAX_TIMEOUT_S).contains(&timeout_s) {
        p.add(format!(
            "train.ddp.timeout_s ({timeout_s}) must be from 1 to {MAX_TIMEOUT_S}, a day"
        ));
    }
    p.above_zero("train.grad_scaler.init_scale", raw.train.grad_scaler.init_scale);
    p.one_or_more("train.grad_scaler.growth_interval", raw.train.grad_scaler.growth_interval);
    for (key, precision) in
        [("train.precision", raw.train.precision), ("eval.precision", raw.eval.precision)]
    {
        if precision == Precision::AmpFp16 && raw.run.device == DeviceChoice::Cpu {
            p.add(format!(
                "{key} (amp_fp16) needs a GPU and run.device is cpu; set {key} to fp32 or amp_bf16"
            ));
        }
    }
    if raw.eval.precision == Precision::Fp64 {
        p.add(
            "eval.precision (fp64) follows the weights, which train.precision = \"fp64\" makes; \
             remove the key",
        );
    }
    p.positive_time("eval.interval", raw.eval.interval);
    time("eval.start", raw.eval.start, p);
    time("eval.offset", raw.eval.offset, p);
}
