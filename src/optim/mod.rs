//! Losses, learning-rate schedules and update rules. This room sees tensors and gradients only.

mod config;
mod schedule;
mod time;

pub use config::{
    LossConfig, LossName, NoDecay, OptimizerConfig, OptimizerName, ScheduleConfig, ScheduleName,
};
pub use schedule::Schedule;
pub use time::{Horizon, Time, TimeError};
