//! `mlperf-run --recipe R`: trains to the target, once or several times, and compares the runs.

use super::{
    exit::{Exit, Failure, OrExit, Outcome},
    job::{Done, Job, ReadyJob, Stage, Tools},
    plan,
    train_args::TrainArgs,
};
use crate::{
    console::{self, Manner},
    events::RunSummary,
    launch::Interrupts,
};

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
