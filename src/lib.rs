//! `mlperf-run` trains ResNets data-parallel through libtorch and times, checks and documents the
//! runs as MLPerf Training does.
//!
//! The modules by layer. A module uses only modules of lower layers (see `docs/ARCHITECTURE.md`;
//! `tests/tidy.rs` checks it):
//!
//! | layer | modules |
//! |---|---|
//! | 5 | [`cli`]: the command line |
//! | 4 | [`console`]: terminal output · [`launch`]: one process per device · `train`: the training
//! loop · [`submission`]: results and packages |
//! | 3 | [`recipe`]: recipes, as written and as resolved |
//! | 2 | [`algorithms`]: the speed-up methods · [`compliance`]: the rules of the log |
//! | 1 | [`data`] · [`model`] · [`optim`] · `distributed` · [`mllog`] · [`events`] |
//! | 0 | `libtorch`: the bridge to libtorch's C++ |

pub mod algorithms;
pub mod cli;
pub mod compliance;
pub mod console;
pub mod data;
#[cfg(feature = "torch")]
pub mod distributed;
pub mod events;
pub mod launch;
#[cfg(feature = "torch")]
pub mod libtorch;
pub mod mllog;
pub mod model;
pub mod optim;
pub mod recipe;
pub mod submission;
#[cfg(feature = "torch")]
pub mod train;
