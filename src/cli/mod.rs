//! The command line: clap types, one file per verb, exit codes.

use clap::{Parser, Subcommand};

pub mod bench;
mod bench_step;
pub mod check;
pub mod data;
mod data_import;
mod data_synth;
pub mod exit;
mod feeds;
mod findings;
mod job;
pub mod package;
mod package_text;
pub mod plan;
#[cfg(feature = "torch")]
pub mod rank;
mod ruleset;
pub mod score;
mod score_text;
mod store_text;
mod threads;
pub mod train;
mod train_args;

use exit::Outcome;

const AFTER_HELP: &str = "\
Examples:
  mlperf-run --recipe demo/optimized                        a run of minutes, needs nothing
  mlperf-run --recipe demo/baseline --recipe demo/optimized compares the two
  mlperf-run --recipe optimized --data /path/to/imagenet    the real thing, on GPUs

Exit codes: 0 target reached, 1 bug, 2 wrong command line, 3 recipe, data or machine not fit,
4 log breaks rules, 5 target missed, 6 a rank failed, 7 interrupted";

/// Trains ResNets data-parallel through libtorch, and times, checks and documents the runs as
/// MLPerf Training does
#[derive(Debug, Parser)]
#[command(name = "mlperf-run", version = env!("MLPERF_RUN_VERSION"))]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    train: train_args::TrainArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Judge logs by MLPerf's rules
    Check(check::CheckArgs),
    /// Score submissions: minutes, olympic mean, scaling by convergence
    Score(score::ScoreArgs),
    /// Make a submission of runs, or verify one
    Package(package::PackageArgs),
    /// Show what a recipe will do, without doing it
    Plan(plan::PlanArgs),
    /// Make, import, inspect and verify data sets
    Data(data::DataArgs),
    /// Measure this machine
    Bench(bench::BenchArgs),
}

impl Cli {
    /// Does what was typed.
    pub fn run(&self) -> Outcome {
        match &self.verb {
            Some(Verb::Check(args)) => check::run(args),
            Some(Verb::Score(args)) => score::run(args),
            Some(Verb::Package(args)) => package::run(args),
            Some(Verb::Plan(args)) => plan::run(args),
            Some(Verb::Data(args)) => data::run(args),
            Some(Verb::Bench(args)) => bench::run(args),
            None => train::run(&self.train),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
