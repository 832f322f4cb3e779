//! Losses, learning-rate schedules and update rules. This room sees tensors and gradients only.

mod config;
mod groups;
#[cfg(feature = "torch")]
mod loss;
mod schedule;
#[cfg(feature = "torch")]
mod sgd;
mod time;

pub use config::{
    LossConfig, LossName, NoDecay, OptimizerConfig, OptimizerName, ScheduleConfig, ScheduleName,
};
pub use groups::decays;
#[cfg(feature = "torch")]
pub use loss::mean_loss;
pub use schedule::Schedule;
#[cfg(feature = "torch")]
pub use sgd::{Optimizer, OptimizerState};
pub use time::{Horizon, Time, TimeError};
