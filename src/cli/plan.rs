//! `mlperf-run plan`: shows what a recipe will do, without running it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};

use super::{
    exit::{Exit, OrExit, Outcome},
    given_weights::GivenWeights,
    plan_compare,
    plan_memory::{self, MemorySize},
};
use crate::{
    console,
    data::{Dataset, Index, Split, inspect},
    events::RankEvent,
    launch::{Machine, RankLayout},
    recipe::{self, FusedKernels, IMAGENET, Plan, Recipe, RecipeFile, RunContext, Throughput},
    run_dir,
};

/// Training images that are opened to estimate their size.
const NUM_LOOKED_AT: usize = 100;

/// Prints the resolved recipe and, as comments, what it does epoch by epoch.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mlperf-run plan --recipe optimized --data /path/to/imagenet
  mlperf-run plan --recipe baseline --recipe optimized --gpu-memory 80GB")]
pub struct PlanArgs {
    /// A file, a name in ./configs, or a built-in recipe. Repeat it to compare recipes: epochs, pixels,
    /// arithmetic and predicted minutes
    #[arg(long, value_name = "RECIPE", required = true)]
    pub recipe: Vec<String>,
    /// Data set to plan for: a folder whose train and val contain CLASS/*.JPEG, *.tar or *.arrow
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Number of ranks [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub nproc: Option<usize>,
    /// Predict the training time from a table such as configs/throughput/*.toml or from the folder
    /// of a run, `results/SYSTEM/run_N`
    #[arg(long, value_name = "FILE")]
    pub throughput: Option<PathBuf>,
    /// Memory of a GPU, as in `24GB`: predict what the recipe needs and the largest batch that fits
    #[arg(long, value_name = "SIZE")]
    pub gpu_memory: Option<MemorySize>,
    /// Override a value of the recipe, as in `optimizer.lr=1.0`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Runs the command.
pub fn run(args: &PlanArgs) -> Outcome {
    console::result(text(args).or_exit(Exit::Invalid)?);
    Ok(Exit::Ok)
}

/// The output of the command. For one recipe, it is a valid recipe; everything else is in comments.
pub fn text(args: &PlanArgs) -> anyhow::Result<String> {
    let [name] = args.recipe.as_slice() else { return plan_compare::text(args) };
    let (recipe, mut notes) = planned(args, name)?;
    let index = recipe.data.path.as_ref().map(|path| Index::open(path, Split::Train));
    let index = index.transpose()?;
    let survey = index.as_ref().map(|index| inspect::survey(index, NUM_LOOKED_AT, 0));
    notes.extend(index.iter().flat_map(|index| stores_read(index, &recipe)));
    notes.extend(
        recipe::advice(&recipe, survey.as_ref())
            .into_iter()
            .map(|advice| format!("advice: {advice}")),
    );
    notes.extend(args.gpu_memory.map(|limit| plan_memory::text(&recipe, limit)));
    let mut plan = Plan::of(&recipe);
    if let Some(path) = &args.throughput {
        let table = throughput(path)?;
        let minutes = table.minutes(&recipe).map_err(|e| anyhow!("{}: {e}", path.display()))?;
        notes.push(format!("minutes predicted from {}", table.source));
        plan = plan.timed(minutes);
    }
    let notes = commented(&notes.join("\n"));
    let plan = commented(&plan.to_string());
    Ok(format!("{notes}\n\n{}\n{plan}", recipe.to_toml()))
}

/// For data sets with several stores: the store for each crop size.
fn stores_read(index: &Index, recipe: &Recipe) -> Vec<String> {
    let mut image_sizes = recipe.crop_sizes.clone();
    image_sizes.sort_unstable();
    image_sizes.dedup();
    let transform = recipe.epoch_values[0].transform;
    let store = |image_size| index.store_of(image_size, transform);
    let read =
        image_sizes.into_iter().filter_map(|image_size| Some((image_size, store(image_size)?)));
    read.map(|(image_size, store)| {
        format!("crops of {image_size} px are read from {}", store.display())
    })
    .collect()
}

/// Reads a table or the events of a run.
pub(super) fn throughput(path: &Path) -> anyhow::Result<Throughput> {
    let is_run = path.is_dir();
    let file = if is_run { path.join(run_dir::EVENTS) } else { path.to_owned() };
    let text = fs::read_to_string(&file).with_context(|| {
        format!("cannot read {}; give a table or the folder of a run", file.display())
    })?;
    let table = if is_run {
        let events: Vec<RankEvent> = text.lines().filter_map(RankEvent::from_line).collect();
        Throughput::of_run(&path.display().to_string(), &events)
    } else {
        Throughput::parse(&text)
    };
    table.map_err(|error| anyhow!("{}: {error}", file.display()))
}

fn commented(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| format!("# {line}").trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The recipe `name`, resolved, and the assumptions made.
pub(super) fn planned(args: &PlanArgs, name: &str) -> anyhow::Result<(Recipe, Vec<String>)> {
    let source = recipe::find(name)?;
    let mut file = recipe::load(&source, &args.overrides)?;
    if let Some(data) = &args.data {
        file.train_on(data);
    }
    let mut notes = vec![format!("recipe {}, resolved", source.name)];
    let mut run_context = counts(&file, &mut notes)?;
    run_context.world_size = args.nproc.unwrap_or(file.run.num_ranks);
    if args.nproc.is_none() && file.run.num_ranks == 0 {
        let (num_ranks, note) = ranks_here(&file, &Machine::detect());
        run_context.world_size = num_ranks;
        notes.push(note);
    }
    let has_no_seed = file.run.seed.is_none();
    let recipe = Recipe::resolve(file, &run_context)?;
    notes.extend(GivenWeights::of(&recipe, &[])?.map(|weights| weights.describe()));
    notes.push(kernels_used(&recipe));
    if has_no_seed {
        notes.push("the recipe has no seed: each run draws one, and this one is an example".into());
    }
    Ok((recipe, notes))
}

/// The number of ranks that a run of `file` takes on `machine`, and a note that says so. One rank
/// where `machine` lacks the GPUs of the recipe.
fn ranks_here(file: &RecipeFile, machine: &Machine) -> (usize, String) {
    let layout = RankLayout::detect(file.run.device, 0, machine);
    let (num_ranks, like) = layout.map_or((1, ""), |it| (it.num_ranks, "as on this machine, "));
    let ranks = if num_ranks == 1 { "rank" } else { "ranks" };
    let note = format!(
        "assumed: {num_ranks} {ranks}, {like}because neither the recipe nor --nproc sets a number"
    );
    (num_ranks, note)
}

/// Which kernels compute the network on a GPU.
fn kernels_used(recipe: &Recipe) -> String {
    match (recipe.train.fused_kernels, recipe.fusion_obstacle()) {
        (FusedKernels::Off, _) => {
            "on a GPU: libtorch's kernels, because train.fused_kernels is off".to_owned()
        }
        (FusedKernels::Auto, Some(obstacle)) => {
            format!("on a GPU: libtorch's kernels, because {obstacle}")
        }
        (FusedKernels::Auto, None) => {
            let num_blocks: usize = recipe.spec.depths.iter().sum();
            format!("on a GPU: fused kernels in the stem and all {num_blocks} residual blocks")
        }
    }
}

/// The image and class counts of the data set that `file` names.
fn counts(file: &RecipeFile, notes: &mut Vec<String>) -> anyhow::Result<RunContext> {
    if let Some(path) = &file.data.path {
        let dataset = Dataset::open(path)?;
        recipe::check_images(file, dataset.division())?;
        dataset.check_in_place(file.data.on_bad_image)?;
        return Ok(RunContext {
            num_classes: dataset.num_classes(),
            num_train: dataset.train.len(),
            num_eval: dataset.eval.len(),
            ..IMAGENET
        });
    }
    if let Some(synth) = &file.data.synth {
        recipe::check_images(file, None)?;
        return Ok(RunContext {
            num_classes: synth.num_classes,
            num_train: synth.num_train,
            num_eval: synth.num_eval,
            ..IMAGENET
        });
    }
    notes.push(
        "assumed: ImageNet (1281167 training images, 50000 for evaluation, 1000 classes), because \
         there is no data set; name one with --data"
            .into(),
    );
    Ok(IMAGENET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::DeviceChoice;

    #[test]
    fn a_plan_has_as_many_ranks_as_a_run_on_the_machine() {
        let mut file = RecipeFile::default();
        let [laptop, server] = [0, 8].map(|num_gpus| Machine { num_cores: 64, num_gpus });
        assert_eq!(ranks_here(&file, &server).0, 8);
        let (num_ranks, note) = ranks_here(&file, &laptop);
        assert_eq!(num_ranks, 2);
        assert!(note.starts_with("assumed: 2 ranks, as on this machine, because"), "{note}");
        file.run.device = DeviceChoice::Cpu;
        assert_eq!(ranks_here(&file, &server).0, 2);
        file.run.device = DeviceChoice::Cuda;
        let (num_ranks, note) = ranks_here(&file, &laptop);
        assert_eq!(num_ranks, 1);
        assert!(note.starts_with("assumed: 1 rank, because"), "{note}");
    }
}
