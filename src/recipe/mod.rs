//! Recipes: [`load()`] reads a [`RecipeFile`], [`Recipe::resolve`] checks it and settles its values.
//!
//! A recipe is a TOML file. It passes through [`find()`] (name to text), [`load()`] (`extends`,
//! overrides, types; reports errors of the text) and [`Recipe::resolve`] (reports errors of the
//! recipe). A [`Recipe`] needs no further checks. Nothing here needs a GPU, a data set or libtorch;
//! a [`RunContext`] gives the facts about them.

mod advice;
mod checkpoint;
mod closed;
mod config;
mod cost;
mod error;
mod feeds;
mod file;
mod find;
mod forecast;
mod images;
mod layer;
mod load;
mod memory;
mod microbatch;
mod plan;
mod resolve;
mod resolved;
mod schema;
mod suggest;
mod validate;

pub use advice::advice;
pub use checkpoint::{CheckpointConfig, CheckpointInterval};
pub use config::{
    CudaGraphs, DdpConfig, DeviceChoice, EvalConfig, FusedKernels, GradScalerConfig,
    GradientCompression, MlperfConfig, OnNonfinite, Precision, RunConfig, TrainConfig, WatchConfig,
};
pub use cost::Cost;
pub use error::{Place, RecipeError};
pub use feeds::Feeds;
pub use file::RecipeFile;
pub use find::{Origin, Source, built_in_names, find};
pub use forecast::{StepRate, Throughput};
pub use images::check_images;
pub use load::{load, parent};
pub use memory::GpuMemory;
pub use microbatch::{Microbatch, halved};
pub use plan::{Plan, PlanRow};
pub use resolved::{EpochValues, IMAGENET, Recipe, RunContext, StepConstants};
pub use schema::schema;
