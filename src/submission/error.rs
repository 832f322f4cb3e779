//! Reasons why runs cannot become a submission.

use std::{io, path::PathBuf};

use super::system::SystemError;
use super::verify::Verdict;
use crate::compliance::{Ruleset, UnknownRuleset};

/// Why there is no submission. In every case nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The target exists.
    #[error("{} exists already; choose another folder with --out DIR, or remove it", .0.display())]
    OutExists(PathBuf),
    /// There are no runs.
    #[error(
        "no run found in {}; name a folder that mlperf-run wrote, such as results/SYSTEM or \
         results/SYSTEM/run_0", .0.display()
    )]
    NoRuns(PathBuf),
    /// A file or folder cannot be read.
    #[error("cannot read {} ({source}); name complete runs, or leave this one out", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A file of a run is not what the launcher wrote.
    #[error("{} is damaged ({message}); leave the run out", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A run has not ended.
    #[error(
        "the log of {} lacks run_start or run_stop, so the run did not end; name the runs to \
         package without it, or repeat it", .0.display()
    )]
    NotStopped(PathBuf),
    /// A run was interrupted and resumed.
    #[error(
        "{} goes on with an interrupted run, so its time is no MLPerf result; name the runs to \
         package without it, or repeat it", .0.display()
    )]
    Resumed(PathBuf),
    /// A run began with given weights.
    #[error(
        "{} began with given weights (model.weights), so its time is no MLPerf result; name the runs to \
         package without it", .0.display()
    )]
    Pretrained(PathBuf),
    /// A log does not belong to its run.
    #[error(
        "{}: mllog.txt has {reason}, so it is not the log of this run; restore it, or leave the \
         run out", folder.display()
    )]
    ForeignLog {
        /// The run.
        folder: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Runs of different kinds.
    #[error(
        "{} and {} are not alike: {what} is {ours} there and {theirs} here; package runs of one \
         recipe, program and machine", one.display(), other.display()
    )]
    RunsDiffer {
        /// The first run.
        one: PathBuf,
        /// The other run.
        other: PathBuf,
        /// What differs.
        what: String,
        /// The value in the first.
        ours: String,
        /// The value in the other.
        theirs: String,
    },
    /// Too few runs.
    #[error(
        "{system} has {num_runs} complete runs; 5 are required: mlperf-run --recipe {recipe} \
         --system {system} --runs {}", 5 - num_runs
    )]
    TooFewRuns {
        /// The system.
        system: String,
        /// The number of its runs.
        num_runs: usize,
        /// Their recipe.
        recipe: String,
    },
    /// Images that the closed division does not allow.
    #[error(
        "{} is a closed run on {reason}, which only the open division allows; package it from runs \
         of an open recipe", folder.display()
    )]
    OpenImages {
        /// The run.
        folder: PathBuf,
        /// The kind of images.
        reason: &'static str,
    },
    /// The manifest names an unknown ruleset.
    #[error(transparent)]
    Ruleset(#[from] UnknownRuleset),
    /// The manifest names a ruleset without `ResNet`.
    #[error(
        "ruleset {0} of the runs' manifests has no ResNet, the benchmark of mlperf-run; run again \
         with ruleset {last}", last = Ruleset::LAST_WITH_RESNET
    )]
    WithoutResnet(Ruleset),
    /// Systems that cannot share a submission.
    #[error(
        "{what} of {one} is {ours}, of {other} {theirs}; package systems of one round, run with \
         one build of the program"
    )]
    SystemsDiffer {
        /// What differs.
        what: &'static str,
        /// The first system.
        one: String,
        /// The other system.
        other: String,
        /// The value of the first.
        ours: String,
        /// The value of the other.
        theirs: String,
    },
    /// The system has no description.
    #[error(
        "{system} has no description, and its runs were made on {host}, not on this machine; copy \
         configs/systems/example.toml to configs/systems/{system}.toml and fill it in, or name \
         another with --description"
    )]
    NoDescription {
        /// The system.
        system: String,
        /// The host of its runs.
        host: String,
    },
    /// One description for several systems.
    #[error(
        "--description describes one system, but there are several: {0}; package them one at a \
         time, or write configs/systems/SYSTEM.toml for each"
    )]
    SharedDescription(usize),
    /// The description is unreadable or incomplete.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Systems of different submitters.
    #[error("the descriptions name submitters {0:?} and {1:?}; choose one with --submitter")]
    SubmittersDiffer(String, String),
    /// The source is missing.
    #[error("{} is not the source of mlperf-run, which a submission requires; name it with \
             --source DIR", .0.display())]
    NoSource(PathBuf),
    /// The source lacks the commit.
    #[error(
        "cannot read commit {commit}, with which the runs were made, from {} ({message}); name a \
         clone that has it with --source DIR", clone.display()
    )]
    NoCommit {
        /// The commit.
        commit: String,
        /// The repository.
        clone: PathBuf,
        /// The message of git.
        message: String,
    },
    /// The submission cannot be written.
    #[error(
        "cannot write {} ({source}); check the disk, or choose another folder with --out DIR",
        path.display()
    )]
    Write {
        /// The path.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The submission would be rejected.
    #[error("the submission would be rejected; nothing was written")]
    Rejected(Box<Verdict>),
}
