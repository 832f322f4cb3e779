//! The data plane: from files on a disk to uint8 batches for the trainer. This module knows no
//! model and no tensor.
//!
//! | folder | part |
//! |---|---|
//! | `image` | JPEG, PNG and raw pixels: decoding, cropping at restart markers, rewriting |
//! | `transform` | crop, resize and flip: from a decoded image to a row of a batch |
//! | `order` | which rank sees which sample when, and the plan of each batch |
//! | `index` | the samples of a split as spans of files, cached between runs |
//! | `format` | readers of folders, archives and shards, which find the spans |
//! | `dataset` | opening a path, stores of several image sizes, reading a span |
//! | `loader` | threads that read and decode ahead of the trainer, the cache and its memory |
//! | `import` | making a store: Arrow shards and their manifest |
//! | `report` | what a data set looks like, how fast it is read, what a run waits for |
//! | `synth` | the built-in image set |

mod config;
mod dataset;
mod error;
#[cfg(test)]
mod fixture;
mod format;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod image;
pub mod import;
mod index;
mod loader;
mod order;
mod report;
pub mod rng;
pub mod synth;
#[cfg(test)]
mod tests;
mod transform;

pub use config::{
    DataConfig, EvalTransform, Geometry, Interpolation, MAX_BATCHES_AHEAD, MAX_THREADS, OnBadImage,
    Order, RamCache, Split, StoreDivision, SynthConfig, TrainTransform,
};
pub use dataset::open::Dataset;
pub use error::DataError;
pub use image::pixels::{Crop, Size};
pub use index::Index;
pub use index::cache::cache_folder;
pub use loader::batch::{Batch, Pool};
pub use loader::budget::{Budget, NUM_PINNED_BATCHES, Need};
pub use loader::cache::{Cache, Sharing};
pub use loader::memory::Free;
pub use loader::stats::{Bound, LoaderStats};
pub use loader::{BadImage, Loader, LoaderConfig, LoaderRank};
pub use order::plan::{
    BatchPlan, TrainSchedule, Transform, eval_plans, train_plans, train_plans_from,
};
pub use order::sampler::{Sampler, Shard};
pub use order::torch::MAX_TORCH_SAMPLES;
pub use report::cold::{ColdEpoch, ColdRates, ReadAhead, measure_cold};
pub use report::diagnosis::{LoaderContext, diagnosis};
pub use report::{bench, inspect};
pub use rng::Rng;
pub use transform::crop::{channel_scale, ffcv_crop, random_resized_crop, torchvision_crop};
