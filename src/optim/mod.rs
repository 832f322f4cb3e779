//! Losses, learning-rate schedules and update rules. This module sees tensors and gradients only.
//!
//! | file | content |
//! |---|---|
//! | `optimizer` | which tensor follows which rule; step, state |
//! | `sgd`, `lars`, `adam`, `lamb`, `muon` | one rule each: equation, source, suggested values |
//! | `schedule` | learning rate by step |
//! | `config`, `check` | the tables of a recipe and their checks |
//! | `scaler`, `loss` | loss scaling, losses |

#[cfg(feature = "torch")]
mod adam;
mod check;
mod config;
#[cfg(feature = "torch")]
mod groups;
#[cfg(feature = "torch")]
mod lamb;
#[cfg(feature = "torch")]
mod lars;
#[cfg(feature = "torch")]
mod loss;
#[cfg(feature = "torch")]
mod muon;
#[cfg(feature = "torch")]
mod optimizer;
#[cfg(feature = "torch")]
mod scaler;
mod schedule;
#[cfg(feature = "torch")]
mod sgd;

#[cfg(feature = "torch")]
pub use self::{
    loss::{mean_loss, sample_losses},
    optimizer::{Clip, Optimizer, OptimizerState},
    scaler::LossScaler,
};
pub use crate::time::{RunLength, Time, TimeError};
pub use config::{
    AdjustLr, Exempt, LossConfig, LossName, OptimizerConfig, OptimizerName, UpdateConstants,
};
pub use schedule::{Schedule, ScheduleConfig, ScheduleName};
