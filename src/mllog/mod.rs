//! The MLPerf log: what rank 0 writes while it trains, in the format of MLPerf's `mllog`.
//!
//! One [`Session`] writes a log. It passes through the states [`Init`], [`Ready`], [`Running`] and
//! [`Stopped`], and a state has methods only for what it may log. Invariants: each record is one
//! `write` of one whole line, followed by a flush, so a killed run leaves whole lines; times never
//! go backwards within a session; epochs count from 1; `metadata` has the source line that logged
//! the record.
//!
//! Not here: reading and checking logs (see `compliance`), and any knowledge of the trainer.

mod cache_clear;
mod event;
mod key;
mod session;
mod sink;
mod tensors;
mod values;

pub use cache_clear::{CacheClear, clear_page_cache};
pub use event::TOKEN;
pub use key::Key;
pub use session::{Init, PRETRAINED, RESUMED, Ready, Running, Session, Stopped};
pub use sink::{Clock, MllogError, SystemClock};
pub use tensors::reference_name;
pub use values::{
    AdamOptions, Hyperparameters, LarsOptions, Optimizer, PlainOptions, SgdOptions, Submission,
};
