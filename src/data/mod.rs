//! The data plane: from files on a disk to uint8 batches in the trainer's hands. This room knows
//! no model and no tensor.
//!
//! | file | part |
//! |---|---|
//! | `folder` | which files there are, and their labels |
//! | `sampler`, `torch_order`, `plan` | which rank sees which sample when, and how it is cut |
//! | `decode`, `augment`, `resize`, `area`, `sample` | from a file to a row of pixels |
//! | `loader`, `batch` | the threads that do so ahead of the trainer |

mod area;
mod augment;
mod batch;
mod config;
mod decode;
mod error;
#[cfg(test)]
mod fixture;
mod folder;
#[cfg(test)]
mod golden_tests;
mod loader;
mod plan;
pub mod random;
mod resize;
mod sample;
mod sampler;
pub mod synth;
mod torch_order;

pub use augment::{Crop, Size, channel_scale, ffcv_crop, random_resized_crop, torchvision_crop};
pub use batch::Batch;
pub use config::{
    DataConfig, EvalTransform, Geometry, Interpolation, OnBadImage, Order, SynthConfig,
    TrainTransform,
};
pub use error::DataError;
pub use folder::{Dataset, Folder, Split};
pub use loader::{BadImage, Loader, LoaderConfig};
pub use plan::{BatchPlan, TrainSchedule, Transform, eval_plans, train_plans};
pub use random::Rng;
pub use sampler::{Sampler, Shard};
pub use torch_order::MAX_TORCH_SAMPLES;
