//! Errors that keep a run from starting. The user can fix each of them.

use std::{io, path::PathBuf};

use super::nodes::NodeError;
use crate::{data::DataError, recipe::RecipeError};

/// Why there are no images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoImages {
    /// The folder is missing.
    #[error("there are no images at {}", .0.display())]
    At(PathBuf),
    /// The recipe has neither `data.path` nor `[data.synth]`.
    #[error("the recipe names no images")]
    Unnamed,
}

/// Why ranks could not be started or supervised.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The recipe wants GPUs, but there are none.
    #[error(
        "the recipe trains on GPUs, but this machine has none; add --device cpu to train on its \
         cores, or use --recipe demo/optimized"
    )]
    NoGpu,
    /// There are no images.
    #[error(
        "{0}; name the folder that contains train/ and val/ with --data DIR, or use --recipe \
         demo/optimized, which needs none"
    )]
    NoImages(NoImages),
    /// There are neither GPUs nor images.
    #[error(
        "the recipe trains on GPUs, but this machine has none, and {0}; add --device cpu and \
         --data DIR, or use --recipe demo/optimized, which needs neither"
    )]
    NoGpuNoImages(NoImages),
    /// The nodes of a run do not meet.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The images are unusable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The recipe does not allow these images.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// There are more ranks than GPUs.
    #[error(
        "{num_ranks} ranks need one GPU each, but this machine has {num_gpus}; add --nproc \
         {num_gpus}"
    )]
    TooFewGpus {
        /// Requested ranks.
        num_ranks: usize,
        /// Available GPUs.
        num_gpus: usize,
    },
    /// The ranks cannot be shared out evenly.
    #[error(
        "{num_ranks} ranks cannot be shared out evenly to {num_nodes} machines; give the number of each \
         with --nproc"
    )]
    UnevenRanks {
        /// Requested ranks.
        num_ranks: usize,
        /// Machines.
        num_nodes: usize,
    },
    /// A folder given as libtorch is not one.
    #[error(
        "no libtorch in {}, the folder given by {origin}: lib/libtorch_cpu.so is missing; run \
         scripts/setup, or name another folder with --libtorch DIR",
        root.display()
    )]
    NotLibtorch {
        /// The folder.
        root: PathBuf,
        /// The flag or variable that names it.
        origin: &'static str,
    },
    /// The libtorch has another version. The ranks use its C++ interface, which is bound to one
    /// version.
    #[error(
        "libtorch in {} is version {found}, but this program requires {needed}; run scripts/setup or \
         pip install torch=={needed}, or name another folder with --libtorch DIR",
        root.display()
    )]
    LibtorchVersion {
        /// The folder.
        root: PathBuf,
        /// The version in its `version.py`.
        found: String,
        /// The required version.
        needed: &'static str,
    },
    /// No libtorch was found.
    #[error(
        "no libtorch {needed} on this machine; run scripts/setup or pip install torch=={needed}, or \
         name its folder with --libtorch DIR"
    )]
    NoLibtorch {
        /// The required version.
        needed: &'static str,
    },
    /// No libtorch was found, and none was known to the build.
    #[error(
        "this mlperf-run was built without the feature torch and knows no libtorch {needed}; build \
         both programs with scripts/setup, or name libtorch's folder with --libtorch DIR"
    )]
    BuiltWithoutTorch {
        /// The required version.
        needed: &'static str,
    },
    /// The rank program is missing.
    #[error(
        "mlperf-rank is neither in {} nor in PATH; install both programs with scripts/setup",
        .0.display()
    )]
    NoRankProgram(PathBuf),
    /// `MASTER_PORT` is unusable.
    #[error(
        "MASTER_PORT {port} cannot be used ({reason}); unset it to use a free port, or set another"
    )]
    Port {
        /// The variable's value.
        port: String,
        /// The reason.
        reason: String,
    },
    /// The results cannot be written.
    #[error(
        "cannot write results to {} ({source}); choose another folder with --results DIR",
        path.display()
    )]
    Results {
        /// The folder or file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The requested result exists.
    #[error(
        "result {number} exists already: {}; results are never overwritten, leave out --result to \
         use the next free number",
        path.display()
    )]
    ResultExists {
        /// Its number.
        number: usize,
        /// The existing path.
        path: PathBuf,
    },
    /// A run cannot be resumed.
    #[error(
        "cannot resume {}: {reason}; name another run with --resume RUN, or start one without it",
        path.display()
    )]
    Resume {
        /// The run.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The system name is not usable as a folder name.
    #[error("'{0}' is not a valid system name; use letters, digits, '-', '_' and '.'")]
    SystemName(String),
    /// The benchmark of the step failed.
    #[error("{0}")]
    Task(String),
    /// A process could not be started or a file could not be read.
    #[error("cannot {what} ({source})")]
    Io {
        /// The failed action.
        what: String,
        /// The I/O error.
        source: io::Error,
    },
}
