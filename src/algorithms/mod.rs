//! The speed-up methods: one file each, one field of [`AlgorithmsConfig`], one line of the table.
//! A table `[algorithms.NAME]` in the recipe switches a method on; the order in which they act
//! belongs to the code.

#[cfg(feature = "torch")]
mod algorithm;
mod blurpool;
mod channels_last;
mod colout;
mod config;
mod cutmix;
mod cutout;
mod ema;
mod fixres;
mod ghost_batch_norm;
mod gradient_clipping;
mod label_smoothing;
#[cfg(feature = "torch")]
mod method_rng;
mod mixup;
mod progressive_resizing;
mod resolution;
mod sam;
mod selective_backprop;
mod stochastic_depth;
mod swa;

#[cfg(feature = "torch")]
pub use self::{
    algorithm::{Algorithm, Algorithms, Batch, MethodContext, Next, Progress, SampleLosses},
    mixup::mix,
    progressive_resizing::resize_nearest,
    sam::Climbing,
};
pub use blurpool::BlurPool;
pub use channels_last::ChannelsLast;
pub use colout::ColOut;
pub use config::AlgorithmsConfig;
pub use cutmix::CutMix;
pub use cutout::Cutout;
pub use ema::{Ema, ema_smoothing};
pub use fixres::FixRes;
pub use ghost_batch_norm::GhostBatchNorm;
pub use gradient_clipping::{ClipBy, GradientClipping};
pub use label_smoothing::{LabelSmoothing, Spread};
pub use mixup::MixUp;
pub use progressive_resizing::{ProgressiveResizing, ResizeOn};
pub use resolution::Resolution;
pub use sam::Sam;
pub use selective_backprop::SelectiveBackprop;
pub use stochastic_depth::{DropDistribution, DropMethod, StochasticDepth};
pub use swa::Swa;
