//! Losses, learning-rate schedules and update rules. This room sees tensors and gradients only.

mod config;
mod groups;
#[cfg(feature = "torch")]
mod loss;
#[cfg(feature = "torch")]
mod scaler;
mod schedule;
#[cfg(feature = "torch")]
mod sgd;
mod time;

#[cfg(feature = "torch")]
pub use self::{
    loss::mean_loss,
    scaler::LossScaler,
    sgd::{Optimizer, OptimizerState},
};
pub use config::{
    LossConfig, LossName, NoDecay, OptimizerConfig, OptimizerName, ScheduleConfig, ScheduleName,
};
pub use groups::decays;
pub use schedule::Schedule;
pub use time::{Horizon, Time, TimeError};
