//! The speed-up methods: one file each, one field of [`AlgorithmsConfig`], one line of the table.
//! A table `[algorithms.NAME]` in the recipe switches a method on; the order in which they act
//! belongs to the code.

mod blurpool;
mod channels_last;
mod config;
mod ema;
mod fixres;
mod label_smoothing;
mod progressive_resizing;
mod resolution;
#[cfg(feature = "torch")]
mod seam;

#[cfg(feature = "torch")]
pub use self::{
    progressive_resizing::resize_nearest,
    seam::{Algorithm, Algorithms, Batch, Progress, Setting},
};
pub use blurpool::BlurPool;
pub use channels_last::ChannelsLast;
pub use config::AlgorithmsConfig;
pub use ema::{Ema, ema_smoothing};
pub use fixres::FixRes;
pub use label_smoothing::{LabelSmoothing, Spread};
pub use progressive_resizing::{ProgressiveResizing, ResizeOn};
pub use resolution::Resolution;
