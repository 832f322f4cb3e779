//! Why a rank cannot go on.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use crate::{
    data::DataError,
    distributed::{DistError, WorldError},
    events::FailureKind,
    libtorch::BridgeError,
    mllog::MllogError,
    recipe::RecipeError,
    run_dir::CheckpointError,
    weights::WeightsError,
};

/// Everything that ends a rank before its run is over.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The environment.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The other ranks.
    #[error(transparent)]
    Dist(#[from] DistError),
    /// The MLPerf log.
    #[error(transparent)]
    Mllog(#[from] MllogError),
    /// libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] BridgeError),
    /// The machine has no device for this rank.
    #[error("{0}")]
    Device(String),
    /// The recipe is for another number of ranks.
    #[error(
        "run.num_ranks is {wanted} in the recipe, and this rank is one of {world_size}; start \
         {wanted} ranks, or set run.num_ranks = {world_size}"
    )]
    NumRanks {
        /// The recipe's number.
        wanted: usize,
        /// The number of ranks that were started.
        world_size: usize,
    },
    /// The benchmark cannot measure what was asked for.
    #[error("{0}")]
    Bench(String),
    /// A captured step or fused kernels, which a run can do without.
    #[error("{0}")]
    Unavailable(String),
    /// A file of the run folder.
    #[error("{}: {source}; free the disk or choose another --results folder", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Weights or a state cannot be written or read.
    #[error("{}: {reason}", path.display())]
    TensorFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Weights to start from.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Weights give no numbers.
    #[error(
        "the logits are not finite, so the weights are damaged or diverged; name other weights"
    )]
    NotFinite,
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint is not one of this recipe.
    #[error("the checkpoint does not fit the recipe: {0}; resume it with the recipe of its run")]
    Resume(String),
    /// The loss is not finite.
    #[error(
        "the loss is {loss} in step {step} of epoch {epoch}, at a learning rate of {lr}; lower \
         optimizer.lr or lengthen scheduler.t_warmup"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// The step of the epoch, from 1.
        step: usize,
        /// Its learning rate.
        lr: f64,
        /// Its loss.
        loss: f64,
    },
    /// This rank has another program, recipe or data set than rank 0.
    #[error(
        "its {0} is not that of rank 0; give all ranks the same --recipe, and all hosts the same build \
         and images"
    )]
    OtherInput(&'static str),
    /// Another rank has.
    #[error("another rank has another program, recipe or data set; see its message")]
    OtherInputElsewhere,
    /// A signal.
    #[error("interrupted by a signal")]
    Interrupted,
}

impl TrainError {
    /// Who can fix it.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Recipe(_)
            | Self::Data(_)
            | Self::World(_)
            | Self::Device(_)
            | Self::NumRanks { .. }
            | Self::Checkpoint(_)
            | Self::Weights(_)
            | Self::NotFinite
            | Self::Resume(_)
            | Self::OtherInput(_)
            | Self::Diverged { .. }
            | Self::Bench(_) => FailureKind::Input,
            // A collective fails when a peer goes away; the peer knows the reason.
            Self::Dist(_) | Self::OtherInputElsewhere => FailureKind::Peer,
            Self::Interrupted => FailureKind::Interrupted,
            _ => FailureKind::Internal,
        }
    }
}

/// tch panics where libtorch throws. The panic becomes an error, so that a run can go on without what
/// `work` was for.
pub(super) fn unwound<T>(work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
        Err(TrainError::Unavailable(text.lines().next().unwrap_or_default().to_owned()))
    })
}
