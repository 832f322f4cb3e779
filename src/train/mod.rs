//! Training: the loop, its step, warm-up, evaluation, and the log and events of a run.

mod batch;
mod bench;
mod captured_step;
mod ceilings;
mod checkpoint;
mod engine;
mod error;
mod evaluate;
mod event_sink;
mod fused;
mod log;
mod meter;
mod rank;
mod step;
mod targets;
mod trainer;
mod trial;
mod warmup;

pub use bench::{StepBench, bench_steps};
pub use checkpoint::save_weights;
pub use engine::StepEngine;
pub use error::TrainError;
pub use event_sink::EventSink;
pub use log::{InitLog, ReadyLog, RunLog};
pub use rank::{RankJob, run_rank};
pub use trainer::{RunEnd, Trainer};

#[cfg(test)]
mod tests;
