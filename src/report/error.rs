//! Why a report cannot be made.

use std::{io, path::PathBuf};

use crate::{compliance::UnknownRuleset, submission::LayoutError};

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder cannot be read.
    #[error("cannot read {} ({source}); name an existing run, folder or log", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A folder has neither runs nor logs.
    #[error("{} has no run_N and no result_*.txt; name a run, a results folder or a log", .0.display())]
    NoRuns(PathBuf),
    /// All logs are of other benchmarks.
    #[error("{} has no ResNet log; `mlperf-run score` shows results of other benchmarks", .0.display())]
    NoResnet(PathBuf),
    /// A file of a run is damaged.
    #[error("{} is damaged ({message}); repair it, or leave this run out", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A manifest names an unknown ruleset.
    #[error("{}: {source}", path.display())]
    Ruleset {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        source: UnknownRuleset,
    },
    /// The tree around a log is damaged.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The report cannot be written.
    #[error("cannot write {} ({source}); name another file or folder", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}
