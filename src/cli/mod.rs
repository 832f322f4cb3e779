//! The command line: clap types, one file per command, exit codes.

use clap::{Parser, Subcommand};

pub mod bench;
mod bench_all_reduce;
mod bench_step;
pub mod check;
mod check_explain;
mod classifier;
pub mod completions;
pub mod data;
mod data_import;
mod data_synth;
pub mod doctor;
mod ending;
pub mod eval;
pub mod exit;
pub mod export;
mod feeds;
mod findings;
mod given_weights;
mod job;
pub mod man;
mod node;
pub mod package;
mod package_text;
pub mod plan;
mod plan_compare;
pub mod plan_memory;
pub mod predict;
#[cfg(feature = "torch")]
pub mod rank;
pub mod report;
mod ruleset;
mod run_metrics;
pub mod score;
mod score_text;
mod settle;
mod stage;
mod store_text;
mod threads;
pub mod train;
mod train_args;
pub mod watch;

use exit::{Exit, Outcome};

use crate::{console, recipe};

/// By itself, clap would leave out `--recipe`, because `--resume` can stand for it.
const USAGE: &str = "mlperf-run [OPTIONS] --recipe <RECIPE>\n       mlperf-run [OPTIONS] --resume [<RUN>]\n       mlperf-run <COMMAND>";

const AFTER_HELP: &str = "\
Examples:
  mlperf-run --recipe demo/optimized                         takes minutes, needs no data or GPU
  mlperf-run --recipe demo/baseline --recipe demo/optimized  compare the two
  mlperf-run --recipe optimized --data /path/to/imagenet     train on ImageNet, on GPUs
  mlperf-run --resume                                        go on with an interrupted run
  mlperf-run --recipe optimized --nnodes 2 --node-rank 0 --rdzv node0:29400
                                                             on two machines, here on node0

Exit codes: 0 target reached, 1 bug, 2 wrong command line, 3 invalid recipe or data, or
unsuitable machine, 4 a log or submission breaks a rule, 5 target missed, 6 a rank failed,
7 interrupted";

/// Trains ResNets data-parallel through libtorch, and times, checks and documents the runs as
/// MLPerf Training does
#[derive(Debug, Parser)]
#[command(name = "mlperf-run", version = env!("MLPERF_RUN_VERSION"))]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(override_usage = USAGE, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    train: train_args::TrainArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check logs against MLPerf's rules
    Check(check::CheckArgs),
    /// Score submissions: minutes, olympic mean, scaling by the convergence test
    Score(score::ScoreArgs),
    /// Show a run that was started elsewhere, until it ends
    Watch(watch::WatchArgs),
    /// Write an HTML page on runs: accuracy, speed, where the time went, findings, recipe
    Report(report::ReportArgs),
    /// Package runs into a submission, or verify one
    Package(package::PackageArgs),
    /// Evaluate weights on the validation images of a data set
    Eval(eval::EvalArgs),
    /// Predict the classes of images
    Predict(predict::PredictArgs),
    /// Write weights for other programs: ONNX, TorchScript, safetensors
    Export(export::ExportArgs),
    /// Show what a recipe will do, without running it
    Plan(plan::PlanArgs),
    /// Generate, import, inspect and verify data sets
    Data(data::DataArgs),
    /// Benchmark this machine
    Bench(bench::BenchArgs),
    /// Find what on this machine would stop a run or slow it down, with the cure
    Doctor(doctor::DoctorArgs),
    /// Print the JSON Schema of recipes, by which editors complete and check them
    #[command(after_help = "Example:\n  mlperf-run schema > recipe.schema.json")]
    Schema,
    /// Print a script that completes commands and options in a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write the pages of all commands
    Man(man::ManArgs),
}

impl Cli {
    /// Runs the command.
    pub fn run(&self) -> Outcome {
        match &self.verb {
            Some(Verb::Check(args)) => check::run(args),
            Some(Verb::Score(args)) => score::run(args),
            Some(Verb::Watch(args)) => watch::run(args),
            Some(Verb::Report(args)) => report::run(args),
            Some(Verb::Package(args)) => package::run(args),
            Some(Verb::Eval(args)) => eval::run(args),
            Some(Verb::Predict(args)) => predict::run(args),
            Some(Verb::Export(args)) => export::run(args),
            Some(Verb::Plan(args)) => plan::run(args),
            Some(Verb::Data(args)) => data::run(args),
            Some(Verb::Bench(args)) => bench::run(args),
            Some(Verb::Doctor(args)) => doctor::run(args),
            Some(Verb::Schema) => {
                console::result(recipe::schema());
                Ok(Exit::Ok)
            }
            Some(Verb::Completions(args)) => completions::run(args),
            Some(Verb::Man(args)) => man::run(args),
            None => train::run(&self.train),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }
}
