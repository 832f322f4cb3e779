//! What is true: a recipe checked across its fields, for a known data set and world.

use super::raw::RawRecipe;
use crate::{
    model::Blueprint,
    optim::{Horizon, Schedule},
};

/// What a recipe is resolved for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Ranks.
    pub world_size: usize,
    /// Classes of the data set.
    pub num_classes: usize,
    /// Training images.
    pub num_train: usize,
    /// Validation images.
    pub num_eval: usize,
}

/// A recipe that has been found sound. Immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The file, every default written out.
    pub raw: RawRecipe,
    /// What it was resolved for.
    pub situation: Situation,
    /// Seed of the run.
    pub seed: u64,
    /// The network, with every change that methods make to it.
    pub blueprint: Blueprint,
    /// Steps and epochs of the run.
    pub horizon: Horizon,
    /// Learning rate by step.
    pub schedule: Schedule,
    /// Side of the training images by epoch, px; index 0 is epoch 1.
    pub sides: Vec<usize>,
    /// Epochs after which to evaluate, from 1, rising.
    pub eval_epochs: Vec<usize>,
    /// Training images of a rank in a step.
    pub batch_per_rank: usize,
    /// Evaluation images of a rank in a step.
    pub eval_batch_per_rank: usize,
}
