//! The log of one run, as a chain of states.

#[cfg(test)]
mod tests;

use crate::mlperf::RunStatus;
use std::{io::Write, panic::Location};

use serde_json::Value;

use super::event::Event;
use super::sink::{Clock, MllogError, Sink};
use super::values::{Hyperparameters, Submission, number};
use super::{CacheClear, Key};

type Site = &'static Location<'static>;

/// The log of one run in state `S`.
pub struct Session<S> {
    sink: Sink,
    state: S,
}

/// Before the clock: initialization is in progress.
pub struct Init {
    started: bool,
}

/// Initialized; the data set has not been touched.
pub struct Ready(());

/// The clock is running.
pub struct Running {
    start_ms: u64,
    /// First epoch of the open block.
    block: Option<usize>,
}

/// The clock has stopped.
pub struct Stopped {
    start_ms: u64,
    stop_ms: u64,
    status: RunStatus,
}

impl<S> Session<S> {
    fn put(&mut self, event: &Event) -> Result<u64, MllogError> {
        self.sink.put(event)
    }
}

impl Session<Init> {
    /// A new log. Nothing is written yet.
    pub fn open(writer: Box<dyn Write + Send>, clock: Box<dyn Clock>) -> Self {
        Self { sink: Sink::new(writer, clock), state: Init { started: false } }
    }

    /// Logs the `submission_*` records.
    #[track_caller]
    pub fn submission(mut self, submission: &Submission) -> Result<Self, MllogError> {
        let site = Location::caller();
        for (key, text) in submission.records() {
            self.put(&Event::of(key, text, site))?;
        }
        Ok(self)
    }

    /// Logs whether the caches were cleared.
    #[track_caller]
    pub fn cache_clear(mut self, cleared: &CacheClear) -> Result<Self, MllogError> {
        let site = Location::caller();
        self.put(&match cleared {
            CacheClear::Cleared => Event::of(Key::CacheClear, true, site),
            CacheClear::Failed { reason } => {
                Event::of(Key::CacheClear, false, site).with("reason", reason.as_str())
            }
        })?;
        Ok(self)
    }

    /// Logs the start of initialization.
    #[track_caller]
    pub fn init_start(mut self) -> Result<Self, MllogError> {
        self.put(&Event::bare(Key::InitStart, Location::caller()))?;
        self.state.started = true;
        Ok(self)
    }

    /// Logs the hyperparameters.
    #[track_caller]
    pub fn hyperparameters(mut self, values: &Hyperparameters) -> Result<Self, MllogError> {
        let site = Location::caller();
        for (key, value) in values.records()? {
            self.put(&Event::of(key, value, site))?;
        }
        Ok(self)
    }

    /// Logs that the weights with these names have been initialized.
    #[track_caller]
    pub fn weights_initialization(
        mut self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Self, MllogError> {
        let site = Location::caller();
        for name in names {
            self.put(&Event::bare(Key::WeightsInitialization, site).with("tensor", name))?;
        }
        Ok(self)
    }

    /// Logs the end of all work that is allowed before the clock starts.
    #[track_caller]
    pub fn init_stop(mut self) -> Result<Session<Ready>, MllogError> {
        if !self.state.started {
            let reason = "init_start has not been logged";
            return Err(MllogError::Order { key: Key::InitStop, reason });
        }
        self.put(&Event::bare(Key::InitStop, Location::caller()))?;
        Ok(Session { sink: self.sink, state: Ready(()) })
    }
}

impl Session<Ready> {
    /// Starts the clock.
    #[track_caller]
    pub fn run_start(mut self) -> Result<Session<Running>, MllogError> {
        let start_ms = self.put(&Event::bare(Key::RunStart, Location::caller()))?;
        Ok(Session { sink: self.sink, state: Running { start_ms, block: None } })
    }
}

/// The member of `tracked_stats` that marks a log which a resumed run goes on with.
pub const RESUMED: &str = "resumed_after_step";

/// The member of `tracked_stats` that marks a log of a run from given weights.
pub const PRETRAINED: &str = "pretrained_weights";

impl Session<Running> {
    /// Goes on with a log whose clock was started at `start_ms`, ms since the Unix epoch.
    pub fn resume(writer: Box<dyn Write + Send>, clock: Box<dyn Clock>, start_ms: u64) -> Self {
        Self { sink: Sink::new(writer, clock), state: Running { start_ms, block: None } }
    }

    /// Logs that the run was interrupted in `epoch`, and goes on from its state after `step` steps. No
    /// rule of MLPerf knows of resumed runs, so the mark is a statistic.
    #[track_caller]
    pub fn resumed(&mut self, epoch: usize, step: usize) -> Result<(), MllogError> {
        self.tracked_stats(epoch, serde_json::json!({ RESUMED: step }))
    }

    /// Logs that the run began with the weights of `file`. MLPerf's runs begin with random weights, so the
    /// mark is a statistic.
    #[track_caller]
    pub fn pretrained(&mut self, file: &str) -> Result<(), MllogError> {
        self.tracked_stats(1, serde_json::json!({ PRETRAINED: file }))
    }

    /// The time of `run_start`, ms since the Unix epoch.
    pub fn start_ms(&self) -> u64 {
        self.state.start_ms
    }

    /// Logs the start of a block of `epoch_count` epochs, which includes an evaluation.
    #[track_caller]
    pub fn block_start(
        &mut self,
        first_epoch: usize,
        epoch_count: usize,
    ) -> Result<(), MllogError> {
        if self.state.block.is_some() {
            let reason = "the previous block is still open";
            return Err(MllogError::Order { key: Key::BlockStart, reason });
        }
        let event = epoch_event(Key::BlockStart, first_epoch, Location::caller())?;
        self.put(&event.with("epoch_count", epoch_count))?;
        self.state.block = Some(first_epoch);
        Ok(())
    }

    /// Logs the end of the open block.
    #[track_caller]
    pub fn block_stop(&mut self) -> Result<(), MllogError> {
        let Some(first_epoch) = self.state.block.take() else {
            let reason = "no block is open";
            return Err(MllogError::Order { key: Key::BlockStop, reason });
        };
        self.put(&epoch_event(Key::BlockStop, first_epoch, Location::caller())?)?;
        Ok(())
    }

    /// Logs the start of training epoch `epoch`.
    #[track_caller]
    pub fn epoch_start(&mut self, epoch: usize) -> Result<(), MllogError> {
        self.put_epoch(epoch_event(Key::EpochStart, epoch, Location::caller()))
    }

    /// Logs the end of training epoch `epoch`.
    #[track_caller]
    pub fn epoch_stop(&mut self, epoch: usize) -> Result<(), MllogError> {
        self.put_epoch(epoch_event(Key::EpochStop, epoch, Location::caller()))
    }

    /// Logs the start of the evaluation after epoch `epoch`.
    #[track_caller]
    pub fn eval_start(&mut self, epoch: usize) -> Result<(), MllogError> {
        self.put_epoch(epoch_event(Key::EvalStart, epoch, Location::caller()))
    }

    /// Logs the top-1 accuracy after epoch `epoch`, 0 to 1.
    #[track_caller]
    pub fn eval_accuracy(&mut self, epoch: usize, accuracy: f64) -> Result<(), MllogError> {
        let mut event = epoch_event(Key::EvalAccuracy, epoch, Location::caller())?;
        event.value = number(Key::EvalAccuracy, accuracy)?;
        self.put_epoch(Ok(event))
    }

    /// Logs the end of the evaluation after epoch `epoch`.
    #[track_caller]
    pub fn eval_stop(&mut self, epoch: usize) -> Result<(), MllogError> {
        self.put_epoch(epoch_event(Key::EvalStop, epoch, Location::caller()))
    }

    /// Logs statistics that no rule reads, such as `{"throughput": 25120.5, "train_loss": 2.1}`.
    #[track_caller]
    pub fn tracked_stats(&mut self, epoch: usize, stats: Value) -> Result<(), MllogError> {
        let mut event = epoch_event(Key::TrackedStats, epoch, Location::caller())?;
        event.value = stats;
        self.put_epoch(Ok(event))
    }

    /// Stops the clock, at any time. An open block is closed first. An epoch or evaluation that was
    /// cut short gets no stop record, because it did not finish.
    #[track_caller]
    pub fn run_stop(mut self, status: RunStatus) -> Result<Session<Stopped>, MllogError> {
        let site = Location::caller();
        if let Some(first_epoch) = self.state.block.take() {
            self.put(&epoch_event(Key::BlockStop, first_epoch, site)?)?;
        }
        let event = Event::bare(Key::RunStop, site).with("status", status.as_str());
        let stop_ms = self.put(&event)?;
        let state = Stopped { start_ms: self.state.start_ms, stop_ms, status };
        Ok(Session { sink: self.sink, state })
    }

    fn put_epoch(&mut self, event: Result<Event, MllogError>) -> Result<(), MllogError> {
        self.put(&event?).map(drop)
    }
}

impl Session<Stopped> {
    /// Milliseconds from `run_start` to `run_stop`.
    pub fn elapsed_ms(&self) -> u64 {
        self.state.stop_ms - self.state.start_ms
    }

    /// How the run ended.
    pub fn status(&self) -> RunStatus {
        self.state.status
    }
}

/// A record about an epoch. Blocks call the epoch's number `first_epoch_num`.
fn epoch_event(key: Key, epoch: usize, site: Site) -> Result<Event, MllogError> {
    if epoch == 0 {
        return Err(MllogError::Order { key, reason: "epochs count from 1" });
    }
    let name = match key {
        Key::BlockStart | Key::BlockStop => "first_epoch_num",
        _ => "epoch_num",
    };
    Ok(Event::bare(key, site).with(name, epoch))
}
