//! What can keep a run from starting. Everything here is for the person at the keyboard to repair.

use std::{io, path::PathBuf};

use crate::{data::DataError, recipe::RecipeError};

/// Why there is nothing to train on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoImages {
    /// The folder is missing.
    #[error("there are no images at {}", .0.display())]
    At(PathBuf),
    /// The recipe has neither `data.path` nor `[data.synth]`.
    #[error("the recipe names no images")]
    Unnamed,
}

/// Why ranks could not be started or watched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// GPUs are asked for and there are none.
    #[error(
        "the recipe trains on GPUs and this machine shows none; add --device cpu to train on its \
         cores, or take --recipe demo/optimized"
    )]
    NoGpu,
    /// There is nothing to train on.
    #[error(
        "{0}; name the folder that holds train/ and val/ with --data DIR, or take --recipe \
         demo/optimized, which needs none"
    )]
    NoImages(NoImages),
    /// Neither GPUs nor images.
    #[error(
        "the recipe trains on GPUs and this machine shows none, and {0}; add --device cpu and \
         --data DIR, or take --recipe demo/optimized, which needs neither"
    )]
    NoGpuNoImages(NoImages),
    /// Images that cannot be trained on.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Images that this recipe may not be trained on.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// Every rank needs a GPU of its own.
    #[error(
        "{num_ranks} ranks need a GPU each and this machine shows {num_gpus}; add --nproc \
         {num_gpus}"
    )]
    TooFewGpus {
        /// Ranks asked for.
        num_ranks: usize,
        /// GPUs that may be used.
        num_gpus: usize,
    },
    /// A folder that was named as libtorch is none.
    #[error(
        "no libtorch in {}, which {origin} names: lib/libtorch_cpu.so is missing; run \
         scripts/setup, or name another folder with --libtorch DIR",
        root.display()
    )]
    NotLibtorch {
        /// The folder.
        root: PathBuf,
        /// What names it.
        origin: &'static str,
    },
    /// The C++ interface that the ranks use is bound to one version.
    #[error(
        "libtorch in {} is version {found}, this program needs {needed}; run scripts/setup, or \
         name another folder with --libtorch DIR",
        root.display()
    )]
    LibtorchVersion {
        /// The folder.
        root: PathBuf,
        /// What its `version.py` says.
        found: String,
        /// What it should say.
        needed: &'static str,
    },
    /// No folder is known to hold libtorch.
    #[error(
        "no libtorch {needed} on this machine; run scripts/setup, or name its folder with \
         --libtorch DIR"
    )]
    NoLibtorch {
        /// The version that is needed.
        needed: &'static str,
    },
    /// The binary of the ranks is missing.
    #[error(
        "mlperf-rank is neither in {} nor in PATH; install both programs with scripts/setup",
        .0.display()
    )]
    NoRankProgram(PathBuf),
    /// `MASTER_PORT` cannot be used.
    #[error(
        "MASTER_PORT {port} cannot be used ({reason}); unset it to take a free one, or name another"
    )]
    Port {
        /// The variable's value.
        port: String,
        /// Why not.
        reason: String,
    },
    /// Results cannot be kept.
    #[error(
        "cannot write results to {} ({source}); choose another folder with --results DIR",
        path.display()
    )]
    Results {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A result that was named exists.
    #[error(
        "result {number} exists already: {}; results are never overwritten, leave out --result to \
         take the next free number",
        path.display()
    )]
    ResultExists {
        /// Its number.
        number: usize,
        /// What exists.
        path: PathBuf,
    },
    /// A system name that is no folder name.
    #[error("'{0}' is no name for a system; use letters, digits, '-', '_' and '.'")]
    SystemName(String),
    /// The step could not be measured.
    #[error("the measurement failed: {0}")]
    Measurement(String),
    /// A process could not be started or a file not be read.
    #[error("cannot {what} ({source})")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}
