//! `mlperf-run --recipe R`: trains to the target, once or several times, and compares the runs.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::ValueEnum;

use super::{
    exit::{Exit, Failure, OrExit, Outcome},
    job::{Done, Job, ReadyJob, Stage, Tools},
    plan::{self, PlanArgs},
};
use crate::{
    console::{self, Manner},
    events::RunSummary,
    launch::Interrupts,
    recipe::DeviceChoice,
};

/// Arguments of a training run.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainArgs {
    /// A file, a name in ./configs, or a built-in recipe; several run one after another
    #[arg(long = "recipe", value_name = "RECIPE", required = true)]
    pub recipes: Vec<String>,
    /// Device to train on [default: the recipe's]
    #[arg(long, value_enum, value_name = "auto|cpu|cuda", hide_possible_values = true)]
    pub device: Option<DeviceChoice>,
    /// Folder whose train and val contain CLASS/*.JPEG, *.tar or *.arrow [default: the recipe's]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Number of ranks, one process each [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub nproc: Option<NonZeroUsize>,
    /// Runs of each recipe, each with its own seed and result
    #[arg(long, value_name = "N")]
    pub runs: Option<NonZeroUsize>,
    /// Seed of the first run; each further run adds 1
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Name of the system, described by configs/systems/NAME.toml
    #[arg(long, value_name = "NAME")]
    pub system: Option<String>,
    /// Folder for results
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Number of the first result [default: the next free one]
    #[arg(long, value_name = "N")]
    pub result: Option<usize>,
    /// Override a value of the recipe, as in `optimizer.lr=1.0`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Folder of libtorch 2.11.0
    #[arg(long, value_name = "DIR")]
    pub libtorch: Option<PathBuf>,
    /// Show what would be done, but start nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Show only errors and the final table
    #[arg(long)]
    pub quiet: bool,
}

/// Finds, loads and resolves every recipe, then launches one after another and compares them.
pub fn run(args: &TrainArgs) -> Outcome {
    if args.dry_run {
        return args.recipes.iter().try_fold(Exit::Ok, |_, name| plan::run(&args.as_plan(name)));
    }
    let manner = if args.quiet { Manner::Quiet } else { Manner::of_stderr() };
    let jobs = each(&args.recipes, |name| Job::resolve(name, args, manner))?;
    let tools = Tools::find(args.libtorch.as_deref()).or_exit(Exit::Invalid)?;
    let ready = each(jobs, |job| job.prepare(args, manner))?;
    let interrupts = Interrupts::listen().or_exit(Exit::Bug)?;
    let mut summaries = Vec::new();
    let outcome = launch_all(ready, &Stage { tools, interrupts, manner }, &mut summaries);
    if !summaries.is_empty() {
        console::result(console::table(&summaries));
    }
    let verdicts = summaries.iter().filter_map(|run| Some((run, run.data_verdict.as_ref()?)));
    for (run, verdict) in verdicts.filter(|_| manner != Manner::Quiet) {
        console::note(format!("{} (seed {}) {verdict}", run.recipe, run.seed));
    }
    outcome
}

/// Launches every run of every job. A failure or an interruption ends the series.
fn launch_all(jobs: Vec<ReadyJob>, stage: &Stage, summaries: &mut Vec<RunSummary>) -> Outcome {
    let mut worst = Exit::Ok;
    for mut job in jobs {
        for (index, folder) in job.take_folders().into_iter().enumerate() {
            let Done { summary, outcome } = job.launch(index, &folder, stage)?;
            summaries.extend(summary);
            worst = worst.max(outcome?);
            if worst == Exit::Incomplete {
                return Ok(worst);
            }
        }
    }
    Ok(worst)
}

fn each<T, U>(
    items: impl IntoIterator<Item = T>,
    act: impl Fn(T) -> Result<U, Failure>,
) -> Result<Vec<U>, Failure> {
    items.into_iter().map(act).collect()
}

impl TrainArgs {
    /// `--set` overrides followed by flags that correspond to recipe keys, so that flags take
    /// precedence.
    pub(super) fn all_overrides(&self) -> Vec<String> {
        let device = self.device.and_then(|device| device.to_possible_value());
        let flags = [
            device.map(|device| format!("run.device=\"{}\"", device.get_name())),
            self.seed.map(|seed| format!("run.seed={seed}")),
            self.nproc.map(|nproc| format!("run.num_ranks={nproc}")),
            self.runs.map(|runs| format!("mlperf.runs={runs}")),
        ];
        self.overrides.iter().cloned().chain(flags.into_iter().flatten()).collect()
    }

    fn as_plan(&self, recipe: &str) -> PlanArgs {
        PlanArgs {
            recipe: recipe.to_owned(),
            data: self.data.clone(),
            nproc: None,
            throughput: None,
            overrides: self.all_overrides(),
        }
    }
}
