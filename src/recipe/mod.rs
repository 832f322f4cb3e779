//! Recipes: `raw` holds what was typed, `resolve` turns it into a [`Recipe`] that is true.

mod config;
mod raw;
mod resolve;

pub use config::{
    DdpConfig, DeviceChoice, Division, EvalConfig, GradScalerConfig, MlperfConfig, Precision,
    RunConfig, TrainConfig,
};
pub use raw::RawRecipe;
pub use resolve::{Recipe, Situation};
