//! `mlperf-run` trains ResNets data-parallel through libtorch and times, checks and documents the
//! runs as MLPerf Training does.
//!
//! The modules by layer. A module uses only modules of lower layers (see `docs/ARCHITECTURE.md`;
//! `tests/tidy.rs` checks it):
//!
//! | layer | modules |
//! |---|---|
//! | 8 | [`cli`]: the command line |
//! | 7 | [`report`]: the HTML page on runs |
//! | 6 | [`console`]: terminal output · [`launch`]: one process per device · [`metrics`]: of runs · `train`: the training loop · [`submission`]: results and packages |
//! | 5 | [`run_dir`]: the folder of a run |
//! | 4 | [`recipe`]: recipes, as written and as resolved |
//! | 3 | [`algorithms`]: the speed-up methods · [`compliance`]: the rules of the log · [`weights`]: their files |
//! | 2 | [`data`] · [`model`] · [`optim`] · `distributed` · [`mllog`] · [`events`] |
//! | 1 | [`time`]: times in training, and values that change with them |
//! | 0 | `libtorch`: the bridge to libtorch's C++ · [`hash`] · [`atomic_file`] · [`mlperf`]: shared words · [`problems`]: of recipes · [`tensor_name`] |

pub mod algorithms;
pub mod atomic_file;
pub mod cli;
pub mod compliance;
pub mod console;
pub mod data;
#[cfg(feature = "torch")]
pub mod distributed;
pub mod events;
pub mod hash;
pub mod launch;
#[cfg(feature = "torch")]
pub mod libtorch;
pub mod metrics;
pub mod mllog;
pub mod mlperf;
pub mod model;
pub mod optim;
pub mod problems;
pub mod recipe;
pub mod report;
pub mod run_dir;
pub mod submission;
pub mod tensor_name;
pub mod time;
#[cfg(feature = "torch")]
pub mod train;
pub mod weights;
