//! `mlperf-rank`: one training process, from its command line to its exit code.

use std::{
    fs,
    num::NonZeroI32,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::anyhow;
use clap::Parser;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::Serialize;
use signal_hook::{consts::TERM_SIGNALS, flag};

use super::exit::{Exit, Failure, OrExit, Outcome};
use crate::{
    console,
    distributed::World,
    events::{AllReduceRate, EvalProgress, FailureKind, Prediction, Pulse, RankEvent, StepRates},
    recipe::IMAGENET,
    run_dir::Checkpoint,
    train::{
        EventSink, RankJob, RunEnd, StepBench, TrainError, bench_all_reduce, bench_steps,
        evaluate_weights, predict, run_rank, trace,
    },
};

/// Trains as one rank of the world that torchrun's environment variables describe
#[derive(Parser)]
#[command(name = "mlperf-rank", version = env!("MLPERF_RUN_VERSION"))]
struct RankArgs {
    /// The resolved recipe.
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Folder for the files of this run.
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,
    /// Checkpoint to go on from, a folder `step_N` of another run.
    #[arg(long, value_name = "DIR", conflicts_with = "bench_steps")]
    resume: Option<PathBuf>,
    /// Benchmark this many training steps instead, without a data set.
    #[arg(long, value_name = "N", requires = "image_sizes")]
    bench_steps: Option<usize>,
    /// Image sizes to benchmark, px.
    #[arg(long = "sides", value_name = "PX", value_delimiter = ',')]
    image_sizes: Vec<usize>,
    /// Benchmark the all-reduce of tensors of these sizes instead, bytes.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', conflicts_with_all = ["bench_steps", "resume"])]
    bench_all_reduce: Vec<usize>,
    /// Evaluate the weights of the recipe on its data set instead.
    #[arg(long, conflicts_with_all = ["bench_steps", "bench_all_reduce", "resume"])]
    evaluate: bool,
    /// Predict the classes of the images that this file lists, in JSON.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["evaluate", "bench_steps", "bench_all_reduce", "resume"])]
    predict: Option<PathBuf>,
    /// Classes to predict for an image.
    #[arg(long, value_name = "K", default_value_t = 5, requires = "predict")]
    top: usize,
    /// Write the network as TorchScript.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["evaluate", "predict", "bench_steps", "bench_all_reduce", "resume"])]
    trace: Option<PathBuf>,
    /// Data set for the benchmark, instead of noise.
    #[arg(long, value_name = "DIR", requires = "bench_steps")]
    bench_data: Option<PathBuf>,
}

/// Runs the rank. It reports to standard output as events if the launcher requests them, otherwise
/// to standard error as text.
pub fn main() -> Exit {
    let args = RankArgs::parse();
    let world = match World::from_env(|name| std::env::var(name).ok()) {
        Ok(world) => world,
        Err(error) => {
            console::note(format_args!("error: {error}"));
            return Exit::Invalid;
        }
    };
    let rank = world.rank;
    let mut event_sink = EventSink::new(&world, Box::new(print_event));
    match run(args, world, &mut event_sink) {
        Ok(exit) => exit,
        Err(Failure { exit, error }) => {
            let kind = error.downcast_ref().map_or(FailureKind::Internal, TrainError::kind);
            let message = format!("{error}");
            event_sink.send_own(&RankEvent::Failed { rank, kind, message });
            exit
        }
    }
}

fn run(args: RankArgs, world: World, event_sink: &mut EventSink) -> Outcome {
    // The kernel ends the ranks whatever ends the launcher, even SIGKILL.
    if launched() {
        set_parent_process_death_signal(Some(Signal::KILL)).or_exit(Exit::RankFailed)?;
        // It may have ended before that call.
        if is_orphaned() {
            return Ok(Exit::Incomplete);
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in TERM_SIGNALS {
        flag::register(signal, Arc::clone(&stop)).or_exit(Exit::RankFailed)?;
    }
    let pulse = Arc::new(Pulse::default());
    end_if_stuck(Arc::clone(&stop), Arc::clone(&pulse));
    if launched() {
        report_pulse(world.rank, Arc::clone(&pulse));
    }
    let no_checkpoint = |folder: &PathBuf| {
        anyhow!("{} is no checkpoint; name a folder step_N of a run", folder.display())
    };
    let resume =
        args.resume.map(|folder| Checkpoint::at(&folder).ok_or_else(|| no_checkpoint(&folder)));
    let job = RankJob {
        recipe: args.recipe,
        run_dir: args.run_dir,
        world,
        resume: resume.transpose().or_exit(Exit::Invalid)?,
        stop,
        pulse,
    };
    if let Some(num_steps) = args.bench_steps {
        let bench = StepBench { image_sizes: args.image_sizes, num_steps, data: args.bench_data };
        let mut print = |rates: &StepRates| console::result(rates.to_line());
        bench_steps(&job, &bench, &IMAGENET, &mut print).or_exit(Exit::Invalid)?;
        return Ok(Exit::Ok);
    }
    if !args.bench_all_reduce.is_empty() {
        let mut print = |rate: &AllReduceRate| console::result(rate.to_line());
        bench_all_reduce(&job, &args.bench_all_reduce, &IMAGENET, &mut print)
            .or_exit(Exit::Invalid)?;
        return Ok(Exit::Ok);
    }
    if args.evaluate {
        let mut progress = |it: EvalProgress| console::result(line(&it));
        let evaluation = evaluate_weights(&job, &mut progress).or_exit(Exit::Invalid)?;
        console::result(line(&evaluation));
        return Ok(Exit::Ok);
    }
    if let Some(list) = &args.predict {
        let text = fs::read_to_string(list).or_exit(Exit::Invalid)?;
        let images: Vec<PathBuf> = serde_json::from_str(&text).or_exit(Exit::Invalid)?;
        let mut report = |it: Prediction| console::result(line(&it));
        predict(&job, &images, args.top, &mut report).or_exit(Exit::Invalid)?;
        return Ok(Exit::Ok);
    }
    if let Some(path) = &args.trace {
        trace(&job, path).or_exit(Exit::Invalid)?;
        return Ok(Exit::Ok);
    }
    match run_rank(&job, event_sink) {
        // The run ended normally in both cases; `RunStop` has the status.
        Ok(RunEnd::TargetReached | RunEnd::TargetMissed) => Ok(Exit::Ok),
        Err(TrainError::Interrupted) => Ok(Exit::Incomplete),
        Err(error) => {
            let exit = match error.kind() {
                FailureKind::Input => Exit::Invalid,
                _ => Exit::RankFailed,
            };
            Err(error).or_exit(exit)
        }
    }
}

/// A result as one line of JSON.
fn line(result: &impl Serialize) -> String {
    serde_json::to_string(result).expect("numbers, text and UTF-8 paths are JSON")
}

/// Ends the process if a signal comes while it does not look at `stop`: while it waits for other ranks,
/// or warms up. Nothing has been measured by then.
fn end_if_stuck(stop: Arc<AtomicBool>, pulse: Arc<Pulse>) {
    const POLL: Duration = Duration::from_millis(200);
    const GRACE: Duration = Duration::from_secs(1);
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(POLL);
        }
        thread::sleep(GRACE);
        if !pulse.is_training() {
            // Destructors of libtorch's would wait for what the main thread is waiting for.
            signal_hook::low_level::exit(Exit::Incomplete as i32);
        }
    });
}

/// Tells the launcher every second what the rank does.
fn report_pulse(rank: usize, pulse: Arc<Pulse>) {
    const INTERVAL: Duration = Duration::from_secs(1);
    thread::spawn(move || {
        loop {
            let (activity, num_steps) = pulse.read();
            print_event(&RankEvent::Alive { rank, activity, num_steps });
            thread::sleep(INTERVAL);
        }
    });
}

/// Whether the launcher has ended.
fn is_orphaned() -> bool {
    let launcher = std::env::var("MLPERF_RUN_LAUNCHER").ok().and_then(|pid| pid.parse().ok());
    let parent = getppid().map(Pid::as_raw_nonzero).map(NonZeroI32::get);
    launcher.is_some_and(|launcher: i32| parent != Some(launcher))
}

fn launched() -> bool {
    std::env::var("MLPERF_RUN_EVENTS").is_ok_and(|form| form == "json")
}

fn print_event(event: &RankEvent) {
    if launched() {
        console::result(event.to_line());
    } else {
        console::note(event.to_line());
    }
}
