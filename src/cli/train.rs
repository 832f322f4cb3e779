//! `mlperf-run --recipe R`: trains to the target, once or several times, and compares the runs.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, anyhow};

use super::{
    exit::{Exit, Failure, OrExit, Outcome},
    job::{Done, Job, ReadyJob},
    plan,
    stage::{Stage, Tools},
    train_args::TrainArgs,
};
use crate::{
    console::{self, Manner},
    events::RunSummary,
    launch::{Interrupts, NodeError, Resumption, RunFolder},
    metrics::MetricsServer,
};

/// Finds, loads and resolves every recipe, then launches one after another and compares them.
pub fn run(args: &TrainArgs) -> Outcome {
    if args.dry_run {
        return args.recipes.iter().try_fold(Exit::Ok, |_, name| plan::run(&args.as_plan(name)));
    }
    let manner = if args.quiet { Manner::Quiet } else { Manner::of_stderr() };
    let resumption = args.resumption().or_exit(Exit::Invalid)?;
    let args = &resumption.as_ref().map_or_else(|| args.clone(), |it| args.resuming(it));
    if resumption.is_some() && args.recipes.len() > 1 {
        let error = anyhow!("--resume goes on with one run; give one --recipe or none");
        return Err(error).or_exit(Exit::Usage);
    }
    let place = args.nodes.place().or_exit(Exit::Usage)?;
    if let Some(place) = place.as_ref().filter(|place| !place.is_first()) {
        return place.serve(args, manner);
    }
    let jobs = each(&args.recipes, |name| {
        let job = Job::resolve(name, args, manner)?;
        Ok(resumption.iter().fold(job, Job::resuming))
    })?;
    let tools = Tools::find(args.libtorch.as_deref()).or_exit(Exit::Invalid)?;
    let jobs = each(jobs, |job| job.prepare(args, manner))?;
    let interrupts = Interrupts::listen().or_exit(Exit::Bug)?;
    let cluster = match place {
        None => None,
        Some(place) => match place.gather(&jobs, manner, &interrupts) {
            Err(NodeError::Interrupted) => return Ok(Exit::Incomplete),
            gathered => Some(gathered.or_exit(Exit::Invalid)?),
        },
    };
    let metrics_server = args.metrics_port.map(|at| serve(at, manner)).transpose()?;
    let accepted_build = args.accepted_build();
    let stage = Stage { tools, interrupts, manner, accepted_build, cluster, metrics_server };
    let mut ended = Ended::default();
    let series = Series { jobs, resumption, max_restarts: args.max_restarts };
    let outcome = series.launch(&stage, &mut ended);
    if let Some(cluster) = &stage.cluster {
        let exit = outcome.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
        cluster.nodes.end(exit as u8);
    }
    show(&ended, manner);
    outcome
}

/// Compares the runs.
fn show(Ended { summaries, reports, incomplete }: &Ended, manner: Manner) {
    if !summaries.is_empty() {
        console::result(console::table(summaries));
    }
    for report in reports.iter().filter(|_| manner != Manner::Quiet) {
        console::note(format_args!("report: {}", report.display()));
    }
    let verdicts = summaries.iter().filter_map(|run| Some((run, run.data_verdict.as_ref()?)));
    for (run, verdict) in verdicts.filter(|_| manner != Manner::Quiet) {
        console::note(format!("{} (seed {}) {verdict}", run.recipe, run.seed));
    }
    if let Some((num_complete, num_runs)) = incomplete.filter(|_| manner != Manner::Quiet) {
        let num_left = num_runs - num_complete;
        console::note(format!(
            "{num_complete} of {num_runs} runs are complete; --runs {num_left} makes the others"
        ));
    }
}

/// Opens the port for metrics before anything else takes time.
fn serve(address: SocketAddr, manner: Manner) -> Result<MetricsServer, Failure> {
    let server = MetricsServer::bind(address)
        .with_context(|| format!("cannot listen at {address}; choose another --metrics-port"))
        .or_exit(Exit::Invalid)?;
    if manner != Manner::Quiet {
        console::note(format!("metrics: http://{}/metrics", server.address()));
    }
    Ok(server)
}

/// What runs that have ended leave.
#[derive(Default)]
struct Ended {
    summaries: Vec<RunSummary>,
    reports: Vec<PathBuf>,
    /// Complete runs and all runs of a recipe, where one of several has ended the series.
    incomplete: Option<(usize, usize)>,
}

/// The runs of all recipes.
struct Series {
    jobs: Vec<ReadyJob>,
    /// The run that the first one goes on with.
    resumption: Option<Resumption>,
    max_restarts: usize,
}

impl Series {
    /// Launches one run after another. A failure or an interruption ends the series.
    fn launch(mut self, stage: &Stage, ended: &mut Ended) -> Outcome {
        let mut worst = Exit::Ok;
        for mut job in std::mem::take(&mut self.jobs) {
            let folders = job.take_folders();
            let num_runs = folders.len();
            for (index, folder) in folders.into_iter().enumerate() {
                ended.incomplete = (num_runs > 1).then_some((index, num_runs));
                let done = self.launch_one(&job, (index, folder), stage)?;
                let Done { summary, report, outcome } = done;
                ended.summaries.extend(summary);
                ended.reports.extend(report);
                worst = worst.max(outcome?);
                if worst == Exit::Incomplete {
                    return Ok(worst);
                }
            }
            ended.incomplete = None;
        }
        Ok(worst)
    }

    /// Launches a run, and goes on with it where a rank fails.
    fn launch_one(
        &mut self,
        job: &ReadyJob,
        (index, mut folder): (usize, RunFolder),
        stage: &Stage,
    ) -> Result<Done, Failure> {
        let mut resumption = self.resumption.take();
        let mut num_restarts = 0;
        loop {
            let done = job.launch(index, &folder, (stage, resumption.as_ref()))?;
            let Err(Failure { exit: Exit::RankFailed, error }) = &done.outcome else {
                return Ok(done);
            };
            // A run that has stopped its clock has its result, whatever fails after that.
            if num_restarts == self.max_restarts || done.summary.is_some() {
                return Ok(done);
            }
            num_restarts += 1;
            // A run that failed before its first checkpoint starts where it was resumed, if it was.
            resumption = Resumption::of_run(folder.path()).ok().or(resumption);
            folder = job.another_folder().or_exit(Exit::Invalid)?;
            if stage.manner != Manner::Quiet {
                let from = match &resumption {
                    Some(it) => format!("from step {}", it.checkpoint().step),
                    None => "from the beginning, because there is no checkpoint".to_owned(),
                };
                let max = self.max_restarts;
                console::note(format!("{error:#}\nrestart {num_restarts} of {max}, {from}"));
            }
        }
    }
}

fn each<T, U>(
    items: impl IntoIterator<Item = T>,
    act: impl Fn(T) -> Result<U, Failure>,
) -> Result<Vec<U>, Failure> {
    items.into_iter().map(act).collect()
}
