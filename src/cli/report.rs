//! `mlperf-run report`: one HTML page on runs.

use std::path::PathBuf;

use super::{
    exit::{Exit, OrExit, Outcome},
    ruleset::RulesetChoice,
};
use crate::{
    console,
    report::{self, Comparison},
};

/// Arguments of `report`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  mlperf-run report results --out report.html")]
pub struct ReportArgs {
    /// Folders `run_N`, folders that contain any, submissions, or MLPerf ResNet logs
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
    /// Also write runs.csv, epochs.csv and evaluations.csv into this folder
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,
    /// Ruleset of logs without a manifest; auto uses that of a folder such as v4.0, otherwise the latest
    /// with ResNet
    #[arg(long, value_name = "RULESET", default_value = "auto")]
    pub ruleset: RulesetChoice,
}

/// Writes the page and prints its path.
pub fn run(args: &ReportArgs) -> Outcome {
    let ruleset = match args.ruleset {
        RulesetChoice::Auto => None,
        RulesetChoice::Named(ruleset) => Some(ruleset),
    };
    let comparison = Comparison::gather(&args.paths, ruleset).or_exit(Exit::Invalid)?;
    report::write_page(&comparison, &args.out).or_exit(Exit::Invalid)?;
    if let Some(folder) = &args.csv {
        report::write_tables(&comparison, folder).or_exit(Exit::Invalid)?;
    }
    console::result(args.out.display());
    Ok(Exit::Ok)
}
