//! What keeps runs from becoming a submission.

use std::io;
use std::path::PathBuf;

use super::system::SystemError;
use super::verify::Verdict;
use crate::compliance::UnknownRuleset;

/// Why there is no submission. Nothing has been written then.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The place is taken.
    #[error("{} exists already; name another place with --out DIR, or remove it", .0.display())]
    OutExists(PathBuf),
    /// No runs are there.
    #[error(
        "no run lies in {}; name a folder that mlperf-run wrote, such as results/SYSTEM or \
         results/SYSTEM/run_0", .0.display()
    )]
    NoRuns(PathBuf),
    /// A file or folder cannot be read.
    #[error("cannot read {} ({source}); name whole runs, or leave this one out", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a run is not what the launcher wrote.
    #[error("{} is damaged ({message}); leave the run out", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A run has not ended.
    #[error(
        "the log of {} has no time from run_start to run_stop: the run did not end; name the runs \
         to package without it, or make it again", .0.display()
    )]
    NotStopped(PathBuf),
    /// A log is not the run's.
    #[error(
        "{}: mllog.txt has {reason}: it is not the log of this run; restore it, or leave the run \
         out", folder.display()
    )]
    ForeignLog {
        /// The run.
        folder: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Runs of different kinds.
    #[error(
        "{} and {} are not runs of one kind: {what} is {ours} there and {theirs} here; package runs \
         of one recipe, program and machine", one.display(), other.display()
    )]
    RunsDiffer {
        /// A run.
        one: PathBuf,
        /// Another.
        other: PathBuf,
        /// What differs.
        what: String,
        /// In the first.
        ours: String,
        /// In the other.
        theirs: String,
    },
    /// Too few runs.
    #[error(
        "{system} has {num_runs} runs that ended; 5 are needed: mlperf-run --recipe {recipe} \
         --system {system} --runs {}", 5 - num_runs
    )]
    TooFewRuns {
        /// The system.
        system: String,
        /// Its runs.
        num_runs: usize,
        /// Their recipe.
        recipe: String,
    },
    /// Images that the closed division does not allow.
    #[error(
        "{} is a run of the closed division on {reason}, which only the open division allows; \
         package it from runs of an open recipe", folder.display()
    )]
    OpenImages {
        /// The run.
        folder: PathBuf,
        /// The images.
        reason: &'static str,
    },
    /// The manifest's ruleset is none.
    #[error(transparent)]
    Ruleset(#[from] UnknownRuleset),
    /// Systems that do not belong into one submission.
    #[error(
        "{what} of {one} is {ours}, of {other} {theirs}; package systems of one round that one \
         build of the program made"
    )]
    SystemsDiffer {
        /// What differs.
        what: &'static str,
        /// A system.
        one: String,
        /// Another.
        other: String,
        /// The first's.
        ours: String,
        /// The other's.
        theirs: String,
    },
    /// Nobody describes the system.
    #[error(
        "nobody describes {system}: its runs were made on {host}, which this machine is not; copy \
         configs/systems/example.toml to configs/systems/{system}.toml and fill it in, or name \
         another with --description"
    )]
    NoDescription {
        /// The system.
        system: String,
        /// Where its runs were made.
        host: String,
    },
    /// One description for several systems.
    #[error(
        "--description describes one system, and these are {0}; package them one at a time, or \
             write configs/systems/SYSTEM.toml for each"
    )]
    SharedDescription(usize),
    /// The description cannot be read or lacks something.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Systems of different submitters.
    #[error("the descriptions name submitters {0:?} and {1:?}; name one with --submitter")]
    SubmittersDiffer(String, String),
    /// No source is there.
    #[error("{} does not hold the source of mlperf-run, which a submission needs; name it with \
             --source DIR", .0.display())]
    NoSource(PathBuf),
    /// The source lacks the commit.
    #[error(
        "cannot take commit {commit}, which the runs were made with, from {} ({message}); name a \
         clone that has it with --source DIR", clone.display()
    )]
    NoCommit {
        /// Which.
        commit: String,
        /// The repository.
        clone: PathBuf,
        /// What git says.
        message: String,
    },
    /// The submission cannot be written.
    #[error("cannot write {} ({source}); see to the disk, or name another place with --out DIR", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The submission would be rejected.
    #[error("the submission would be rejected; nothing was written")]
    Rejected(Box<Verdict>),
}
