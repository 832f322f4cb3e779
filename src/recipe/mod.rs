//! Recipes: [`load()`] reads what was typed, [`Recipe::resolve`] turns it into what is true.
//!
//! A recipe is a TOML file. Its road: [`find()`] (name to text), [`load()`] (`extends`, overrides,
//! types; the only place that may say that a text is wrong), [`Recipe::resolve`] (the only place
//! that may say that a recipe is wrong), after which there is nothing left to check. Deliberately
//! absent: anything that needs a GPU, a data set or libtorch; a [`RunContext`] stands for them.

mod advice;
mod closed;
mod config;
mod error;
mod feeds;
mod find;
mod forecast;
mod images;
mod layer;
mod load;
mod plan;
mod raw;
mod resolve;
mod suggest;
mod validate;

pub use advice::advice;
pub use config::{
    CudaGraphs, DdpConfig, DeviceChoice, Division, EvalConfig, GradScalerConfig, MlperfConfig,
    Precision, RunConfig, TrainConfig,
};
pub use error::{Place, RecipeError};
pub use feeds::Feeds;
pub use find::{Origin, Source, built_in_names, find};
pub use forecast::{StepRate, Throughput};
pub use images::check_images;
pub use load::load;
pub use plan::{Plan, PlanRow};
pub use raw::RawRecipe;
pub use resolve::{IMAGENET, Recipe, RunContext};
