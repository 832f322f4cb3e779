//! The MLPerf log: what rank 0 writes while it trains, in the grammar of MLPerf's `mllog`.
//!
//! A log is made by one [`Session`], which goes through the states [`Init`], [`Ready`], [`Running`]
//! and [`Stopped`]; what a state may not log has no method there. Invariants: one record is one
//! `write` of one whole line, flushed, so a killed run leaves whole lines; times never go backwards
//! within a session; epochs count from 1; `metadata` names the line of code that logged.
//!
//! Absent on purpose: reading and judging logs (`compliance`), and any knowledge of who trains.

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
pub use session::{Init, Ready, Running, Session, Stopped};
pub use sink::{Clock, MllogError, SystemClock};
pub use tensors::reference_name;
pub use values::{
    AdamOptions, Hyperparameters, LarsOptions, Optimizer, PlainOptions, SgdOptions, Submission,
};
