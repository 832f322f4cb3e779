//! Training: the loop, its step, warm-up, evaluation, and the log and events of a run.

mod agreement;
mod batch;
mod bench;
mod bench_all_reduce;
mod captured_step;
mod ceilings;
mod checkpoint;
mod classify;
mod engine;
mod error;
mod evaluate;
mod event_sink;
mod fused;
mod log;
mod losses;
mod meter;
mod microbatch;
mod nonfinite;
mod rank;
mod same_inputs;
mod statistics;
mod step;
mod targets;
mod tensor_file;
mod trainer;
mod trial;
mod warmup;
mod weights_file;

pub use bench::{StepBench, bench_steps};
pub use bench_all_reduce::bench_all_reduce;
pub use classify::{evaluate_weights, predict, trace};
pub use engine::StepEngine;
pub use error::TrainError;
pub use event_sink::EventSink;
pub use log::{InitLog, ReadyLog, RunLog};
pub use rank::{RankJob, run_rank};
pub use trainer::{RunEnd, Trainer};
pub use weights_file::save_weights;

#[cfg(test)]
mod tests;
