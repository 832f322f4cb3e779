//! The data plane: from files on a disk to uint8 batches in the trainer's hands. This room knows
//! no model and no tensor.
//!
//! | file | part |
//! |---|---|
//! | `source` | what lies at a path |
//! | `container` | readers of folders, archives and shards: what finds the spans |
//! | `index`, `index_cache` | the samples of a split as spans of files; kept between runs |
//! | `span_reader`, `ahead` | from a span to bytes; what is read before it is needed |
//! | `memory`, `budget` | what the machine has free, and what a run asks for |
//! | `sampler`, `torch_order`, `plan` | which rank sees which sample when, and how it is cut |
//! | `turbo`, `crop_intervals`, `transcode` | libjpeg-turbo; JPEGs cut down and written anew |
//! | `pixmap`, `png_file` | images that are stored as pixels; PNGs |
//! | `cache` | decoded images kept in memory |
//! | `decode`, `augment`, `resize`, `convolve`, `taps`, `sample` | from a file to a row of pixels |
//! | `loader`, `batch` | the threads that do so ahead of the trainer |
//! | `stats`, `verdict` | who waits for whom, and what helps |
//! | `store` | images packed once: Arrow shards and their manifest |
//! | `stores` | stores of several sizes as one data set |
//! | `inspect`, `bench`, `cold` | what a data set looks like, and how fast it can be read |

mod augment;
mod batch;
pub mod bench;
mod budget;
mod cache;
mod cold;
mod config;
mod container;
mod convolve;
mod decode;
mod diagnosis;
mod error;
#[cfg(test)]
mod fixture;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
mod golden_tests;
mod index;
mod index_cache;
pub mod inspect;
mod loader;
mod memory;
mod pixmap;
mod plan;
mod png_file;
pub mod random;
mod readahead;
mod resize;
mod restart_crop;
mod sample;
mod sampler;
mod source;
mod span_reader;
mod stats;
pub mod store;
mod stores;
pub mod synth;
mod taps;
mod torch_order;
mod transcode;
mod turbo;

pub use augment::{Crop, Size, channel_scale, ffcv_crop, random_resized_crop, torchvision_crop};
pub use batch::{Batch, Pool};
pub use budget::{Budget, Need};
pub use cache::{Cache, Sharing};
pub use cold::{ColdEpoch, ColdRates, ReadAhead, measure_cold};
pub use config::{
    DataConfig, EvalTransform, Geometry, Interpolation, MAX_BATCHES_AHEAD, MAX_THREADS, OnBadImage,
    Order, RamCache, SynthConfig, TrainTransform,
};
pub use diagnosis::{LoaderContext, diagnosis};
pub use error::DataError;
pub use index::{Index, Split};
pub use loader::{BadImage, Loader, LoaderConfig};
pub use memory::Free;
pub use plan::{BatchPlan, TrainSchedule, Transform, eval_plans, train_plans, train_plans_from};
pub use random::Rng;
pub use sampler::{Sampler, Shard};
pub use source::Dataset;
pub use stats::{Bound, LoaderStats};
pub use torch_order::MAX_TORCH_SAMPLES;
