//! The folder of a run: which files it holds and what its manifest says. The launcher writes it;
//! ranks, checks and submissions read it.
//!
//! ```text
//! RESULTS/SYSTEM/run_N/                  all that run N leaves
//! RESULTS/SYSTEM/run_N/checkpoints/      what it can be resumed from
//! RESULTS/SYSTEM/resnet/result_N.txt     its MLPerf log, after the clock has stopped
//! ```

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

mod checkpoint;
mod manifest;

pub use checkpoint::{Checkpoint, CheckpointError, CheckpointStamp, RunState};
pub use manifest::{DataStamp, ProgramStamp, RecipeStamp, ResumeStamp, RunManifest, WeightsStamp};

/// The resolved recipe.
pub const RECIPE: &str = "recipe.toml";
/// What the run was made from: a [`RunManifest`].
pub const MANIFEST: &str = "manifest.json";
/// The events of all ranks, a line of JSON each.
pub const EVENTS: &str = "events.jsonl";
/// The MLPerf log, which rank 0 writes.
pub const LOG: &str = "mllog.txt";
/// The results of the run, as a `RunSummary`.
pub const SUMMARY: &str = "summary.json";
/// Measurements during the run, a line of JSON each.
pub const METRICS: &str = "metrics.jsonl";
/// The folder of `TensorBoard`'s event files.
pub const TENSORBOARD: &str = "tensorboard";
/// The page on the run.
pub const REPORT: &str = "report.html";
/// The evaluated weights.
pub const WEIGHTS: &str = "weights.safetensors";
/// The names of a network's classes, a list in JSON, for evaluation and predictions.
pub const CLASSES: &str = "classes.json";
/// The folder of the benchmark's results, as submissions name it.
pub const BENCHMARK: &str = "resnet";

/// Name of the folder of run `number`.
pub fn run_name(number: impl Display) -> String {
    format!("run_{number}")
}

/// Name of the published log of run `number`.
pub fn result_name(number: impl Display) -> String {
    format!("result_{number}.txt")
}

/// The newest run in `folder`, which is that of a system or of all results.
pub fn newest(folder: &Path) -> Option<PathBuf> {
    let systems = folders(folder).into_iter().chain([folder.to_owned()]);
    let runs = systems.flat_map(|system| folders(&system));
    let started = |run: &PathBuf| fs::metadata(run.join(MANIFEST))?.modified();
    let runs = runs.filter_map(|run| Some((started(&run).ok()?, run)));
    runs.max().map(|(_, run)| run)
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
