//! The speed-up methods: one file and one line of the table in `registry` each.
//!
//! A table `[algorithms.NAME]` in the recipe switches a method on. The order of the registry is
//! the order in which methods act; a recipe cannot change it.

#[cfg(feature = "torch")]
mod algorithm;
mod method;
#[cfg(feature = "torch")]
mod method_rng;
mod registry;

mod alternating_flip;
mod blurpool;
mod channels_last;
mod colout;
mod cutmix;
mod cutout;
mod ema;
mod fixres;
mod ghost_batch_norm;
mod gradient_clipping;
mod label_smoothing;
mod layer_freezing;
mod mixup;
mod progressive_resizing;
mod randaugment;
mod resolution;
mod sam;
mod selective_backprop;
mod squeeze_excite;
mod stochastic_depth;
mod swa;

pub use ema::ema_smoothing;
pub use gradient_clipping::ClipBy;
pub use label_smoothing::Spread;
pub use method::{ImageSizes, Method};
pub use progressive_resizing::ResizeOn;
pub use registry::*;
pub use stochastic_depth::{DropDistribution, DropMethod};
#[cfg(feature = "torch")]
pub use {
    algorithm::{
        Algorithm, Algorithms, Average, Batch, MethodContext, Next, Progress, SampleLosses,
    },
    colout::colout,
    cutmix::{Region, cutmix},
    cutout::cutout,
    mixup::mixup,
    progressive_resizing::resize_nearest,
    sam::SamAlgorithm,
};
