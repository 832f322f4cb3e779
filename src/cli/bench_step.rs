//! `mlperf-run bench step`: benchmarks the training step of one device.

use std::path::PathBuf;

use anyhow::Context;

use super::exit::{Exit, OrExit as _, Outcome};
use crate::{
    console,
    events::StepRates,
    launch::{
        Libtorch, Machine, RankLayout, StepMeasurement, TaskRanks, find_rank_program, measure_steps,
    },
    recipe::{self, DeviceChoice, IMAGENET, Recipe, RecipeFile},
    run_dir,
};

/// Arguments of `bench step`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  mlperf-run bench step --recipe optimized-1gpu --all-sides")]
pub(super) struct BenchStepArgs {
    /// A file, a name in ./configs, or a built-in recipe
    #[arg(long, value_name = "RECIPE", default_value = "baseline")]
    recipe: String,
    /// Device to measure [default: the recipe's]
    #[arg(long, value_enum, value_name = "auto|cpu|cuda", hide_possible_values = true)]
    device: Option<DeviceChoice>,
    /// Training image sizes, px [default: the smallest and the largest of the recipe]
    #[arg(long = "side", value_name = "PX", value_delimiter = ',')]
    image_size: Vec<usize>,
    /// Measure at every image size of the recipe
    #[arg(long = "all-sides", conflicts_with = "image_size")]
    all_sizes: bool,
    /// Images per step [default: the recipe's batch size per rank]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Timed steps per image size
    #[arg(long, value_name = "N", default_value_t = 20)]
    steps: usize,
    /// Data set to take images from, repeatedly [default: noise]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Override a value of the recipe, as in `train.precision=amp_bf16`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder of libtorch 2.11.0
    #[arg(long, value_name = "DIR")]
    libtorch: Option<PathBuf>,
    /// Print a line of JSON per image size
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BenchStepArgs) -> Outcome {
    let file = one_rank(args).or_exit(Exit::Invalid)?;
    let rank_layout =
        RankLayout::detect(file.run.device, 1, &Machine::detect()).or_exit(Exit::Invalid)?;
    let recipe = Recipe::resolve(file, &IMAGENET).or_exit(Exit::Invalid)?;
    let image_sizes = match args.image_size.as_slice() {
        [] if args.all_sizes => all(&recipe.image_sizes),
        [] => extremes(&recipe.image_sizes),
        image_sizes => image_sizes.to_owned(),
    };
    let libtorch = Libtorch::find(args.libtorch.as_deref()).or_exit(Exit::Invalid)?;
    let program = find_rank_program().or_exit(Exit::Invalid)?;
    let folder = tempfile::tempdir().or_exit(Exit::Invalid)?;
    std::fs::write(folder.path().join(run_dir::RECIPE), recipe.to_toml())
        .with_context(|| format!("cannot write {}", folder.path().display()))
        .or_exit(Exit::Invalid)?;
    let ranks = TaskRanks {
        program: &program,
        libtorch: &libtorch,
        rank_layout: &rank_layout,
        run_dir: folder.path(),
    };
    let measurement = StepMeasurement {
        image_sizes: &image_sizes,
        num_steps: args.steps,
        data: args.data.as_deref(),
    };
    if !args.json {
        console::result(HEAD);
    }
    let mut show = |rates: &StepRates| {
        console::result(if args.json { rates.to_line() } else { row(rates) });
        if let Some(message) = &rates.not_fused {
            console::note(format_args!("warning: {message}"));
        }
        if let Some(reason) = &rates.not_captured {
            console::note(format_args!("warning: at {} px {reason}", rates.image_size));
        }
    };
    measure_steps(&ranks, &measurement, &mut show).or_exit(Exit::Invalid)?;
    Ok(Exit::Ok)
}

/// The recipe for one rank, without a data set.
fn one_rank(args: &BenchStepArgs) -> anyhow::Result<RecipeFile> {
    let source = recipe::find(&args.recipe)?;
    let mut file = recipe::load(&source, &args.overrides)?;
    if let Some(device) = args.device {
        file.run.device = device;
    }
    let fraction = file.train.batch_size / file.run.num_ranks.max(1);
    file.train.batch_size = args.batch.unwrap_or(fraction);
    file.eval.batch_size = file.train.batch_size;
    file.run.num_ranks = 1;
    file.model.num_classes = 0;
    file.data.path = None;
    file.data.synth = None;
    Ok(file)
}

/// The distinct values in ascending order.
fn all(image_sizes: &[usize]) -> Vec<usize> {
    let image_sizes: std::collections::BTreeSet<usize> = image_sizes.iter().copied().collect();
    image_sizes.into_iter().collect()
}

/// The smallest and the largest value, or the only one.
fn extremes(image_sizes: &[usize]) -> Vec<usize> {
    let ends = [image_sizes.iter().min(), image_sizes.iter().max()];
    let mut ends: Vec<usize> = ends.into_iter().flatten().copied().collect();
    ends.dedup();
    ends
}

const HEAD: &str = "device   side  batch  images/s   step ms (least-most)    upload  forward  \
                    backward  update   TFLOP/s  of matmul  GB/s    of copy  peak MB  wait    eval/s";

fn row(rates: &StepRates) -> String {
    let StepRates { device, image_size, batch_size, images_per_s, parts_ms: parts, .. } = rates;
    let [least, median, most] = rates.step_ms;
    let range = format!("{median:.2} ({least:.2}-{most:.2})");
    let wait =
        rates.data_wait.map_or("-".to_owned(), |fraction| format!("{:.1} %", 100.0 * fraction));
    format!(
        "{device:<7} {image_size:>5}  {batch_size:>5}  {images_per_s:>8.1}   {range:<23}{:>7.2}  \
         {:>7.2}  {:>8.2}  {:>6.2}  {:>8.2}  {:>7.1} %  {:>5.0}  {:>6.1} %  {:>7.0}  {wait:<6}  \
         {:>6.0}",
        parts.upload,
        parts.forward,
        parts.backward,
        parts.update,
        rates.tflops,
        100.0 * rates.tflops / rates.matmul_tflops,
        rates.traffic_gb_s,
        100.0 * rates.traffic_gb_s / rates.copy_gb_s,
        rates.peak_gpu_mb.unwrap_or(rates.peak_host_mb),
        rates.eval_images_per_s,
    )
}
