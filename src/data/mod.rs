//! The data plane: from files on disk to uint8 batches for the trainer. It knows no models and no
//! tensors.
//!
//! | folder | part |
//! |---|---|
//! | `image` | JPEG, PNG and raw pixels: decoding, cropping at restart markers, rewriting; formats of imports |
//! | `transform` | crop, resize, flip and augmentation: from a decoded image to a row of a batch |
//! | `order` | the samples of each rank in each epoch, and the plan of each batch |
//! | `index` | the samples of a split as byte ranges (spans) of files, cached between runs |
//! | `format` | readers that find the spans in folders, archives and shards |
//! | `dataset` | opening a path, stores of several image sizes, reading a span |
//! | `loader` | worker threads that prefetch and decode batches, and the cache of decoded images |
//! | `import` | writing a store: Arrow shards and their manifest |
//! | `report` | previews of a data set, loader benchmarks, and a diagnosis of data stalls |
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
mod ram_cache;
mod report;
pub mod rng;
pub mod synth;
#[cfg(test)]
mod tests;
mod transform;

pub use config::{
    DataConfig, EvalTransform, Flip, Geometry, Interpolation, MAX_BATCHES_AHEAD, MAX_THREADS,
    OnBadImage, Order, RamCache, Split, StoreDivision, SynthConfig, TrainDataConfig,
    TrainTransform,
};
pub use dataset::open::Dataset;
pub use error::DataError;
pub use format::names::is_image as is_image_name;
pub use image::pixels::{Crop, Size};
pub use index::Index;
pub use index::cache::cache_folder;
pub use loader::batch::{Batch, Pool};
pub use loader::budget::{Budget, NUM_PINNED_BATCHES, Need};
pub use loader::cache::{Cache, Sharing};
pub use loader::memory::Free;
pub use loader::sample::ImageReader;
pub use loader::stats::{Bound, LoaderStats};
pub use loader::{BadImage, Loader, LoaderConfig, LoaderRank};
pub use order::plan::{BatchPlan, TrainSchedule, Transform, eval_plans, train_plans};
pub use order::sampler::{Sampler, Shard};
pub use order::torch::MAX_TORCH_SAMPLES;
pub use report::cold::{ColdEpoch, ColdRates, ReadAhead, measure_cold};
pub use report::diagnosis::{LoaderContext, diagnosis};
pub use report::{bench, inspect};
pub use rng::Rng;
pub use transform::augment::{Augmentation, AugmentationSet};
pub use transform::crop::{channel_scale, ffcv_crop, random_resized_crop, torchvision_crop};
