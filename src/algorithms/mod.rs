//! The speed-up methods: one file each, one field of [`AlgorithmsConfig`], one line of the table.
//! A table `[algorithms.NAME]` in the recipe switches a method on; the order in which they act
//! belongs to the code.

mod blurpool;
mod channels_last;
mod config;
mod label_smoothing;

pub use blurpool::BlurPool;
pub use channels_last::ChannelsLast;
pub use config::AlgorithmsConfig;
pub use label_smoothing::{LabelSmoothing, Spread};
