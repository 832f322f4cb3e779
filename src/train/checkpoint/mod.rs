//! Checkpoints: when they are due, what is in them, and how a run goes on from one.

mod state;
mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use self::{
    state::{own_state, restore, shared_state},
    writer::{Part, Writer, Written},
};
use super::{
    engine::StepEngine,
    error::{TrainError, unwound},
    event_sink::EventSink,
    tensor_file::TensorFile,
};
use crate::{
    algorithms::Progress,
    events::RankEvent,
    libtorch::Readout,
    model::Named,
    recipe::CheckpointInterval,
    run_dir::{Checkpoint, LOG, RunState},
};

/// Where a checkpoint is in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EpochIs {
    /// Steps or the evaluation are left.
    Open,
    /// Nothing is left.
    Over,
}

/// Saves the state of a rank when it is due.
pub(super) struct Checkpoints {
    run_dir: PathBuf,
    interval: CheckpointInterval,
    /// Steps between checkpoints, if training sets the interval.
    num_steps: Option<usize>,
    /// The step after which the last one was saved.
    last: (usize, Instant),
    writer: Writer,
}

impl Checkpoints {
    /// The checkpoints of the run of `engine` in `run_dir`.
    pub(super) fn new(run_dir: &Path, engine: &StepEngine) -> Self {
        let config = &engine.recipe.train.checkpoint;
        Self {
            run_dir: run_dir.to_owned(),
            interval: config.interval,
            num_steps: config.interval.steps(&engine.recipe.run_length),
            last: (engine.progress.step, Instant::now()),
            writer: Writer::start(
                engine.world.is_main().then(|| (run_dir.to_owned(), config.keep)),
            ),
        }
    }

    /// Whether one is due after `step` steps, which ranks know without asking each other.
    pub(super) fn is_due_after(&self, step: usize) -> bool {
        self.num_steps.is_some_and(|num_steps| step / num_steps > self.last.0 / num_steps)
    }

    /// Whether one is due after an evaluation.
    pub(super) fn is_due_after_evaluation(&self) -> bool {
        self.interval == CheckpointInterval::Evaluation
    }

    /// Whether one is due by this rank's clock.
    pub(super) fn is_due_by_time(&self) -> bool {
        let CheckpointInterval::Minutes(minutes) = self.interval else { return false };
        self.last.1.elapsed() >= Duration::from_secs_f64(60.0 * minutes)
    }

    /// Whether a signal leaves one behind.
    pub(super) fn is_due_at_stop(&self) -> bool {
        self.interval != CheckpointInterval::Off
    }

    /// Copies the state on its device and hands it to the writer. The clock was started at `start_ms`.
    pub(super) fn save(
        &mut self,
        engine: &StepEngine,
        (epoch_is, start_ms): (EpochIs, u64),
        event_sink: &mut EventSink,
    ) {
        self.report(event_sink);
        // Also if it fails, so that the next one is due after the same step on all ranks.
        self.last = (engine.progress.step, Instant::now());
        let part = self.part(engine, (epoch_is, start_ms));
        if let Err(reason) = part.and_then(|part| self.writer.write(part)) {
            report(&Err(reason), event_sink);
        }
    }

    /// What this rank saves.
    fn part(&self, engine: &StepEngine, how: (EpochIs, u64)) -> Result<Part, String> {
        if !self.writer.is_free() {
            let busy = "the disk is still busy with the last ones; raise train.checkpoint.interval";
            return Err(busy.to_owned());
        }
        let run = engine.world.is_main().then(|| self.run_state(how)).transpose()?;
        // A device without memory for the copies can go on without a checkpoint.
        let (tensors, copied) = unwound(|| copies(engine)).map_err(|error| error.to_string())?;
        Ok(Part {
            checkpoint: Checkpoint::new(&self.run_dir, engine.progress.step),
            rank: engine.world.rank,
            world_size: engine.world.world_size,
            run,
            tensors,
            copied,
        })
    }

    fn run_state(&self, (epoch_is, start_ms): (EpochIs, u64)) -> Result<RunState, String> {
        let path = self.run_dir.join(LOG);
        let log_bytes =
            fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.len();
        Ok(RunState { start_ms, log_bytes, epoch_is_over: epoch_is == EpochIs::Over })
    }

    /// Waits until everything is written, and reports it.
    pub(super) fn finish(self, event_sink: &mut EventSink) {
        for written in self.writer.finish() {
            report(&written, event_sink);
        }
    }

    /// Reports what has been written.
    fn report(&self, event_sink: &mut EventSink) {
        self.writer.written().for_each(|written| report(&written, event_sink));
    }
}

/// A checkpoint that cannot be written does not end a run: it costs a part of the run only if that fails.
fn report(written: &Written, event_sink: &mut EventSink) {
    match written {
        Ok(checkpoint) => event_sink.send(&RankEvent::Checkpoint { step: checkpoint.step }),
        Err(reason) => {
            let message = format!("a checkpoint could not be written: {reason}");
            event_sink.send_own(&RankEvent::Warning { message });
        }
    }
}

/// Copies of the state that this rank saves, and a number that is there when they are.
fn copies(engine: &StepEngine) -> Result<(Vec<Named>, Readout), TrainError> {
    let mut tensors = own_state(engine)?;
    if engine.world.is_main() {
        tensors.extend(shared_state(engine)?);
    }
    Ok((tensors, Readout::of(&engine.num_correct)?))
}

/// Puts the state of `checkpoint` into a warmed-up engine. Returns the state of the run.
pub(super) fn resume(
    engine: &mut StepEngine,
    checkpoint: &Checkpoint,
) -> Result<RunState, TrainError> {
    let failed =
        |reason: String| TrainError::TensorFile { path: checkpoint.folder().to_owned(), reason };
    let stamp = checkpoint.stamp(0)?;
    let (world_size, wanted) = (engine.world.world_size, stamp.world_size);
    if world_size != wanted || checkpoint.step == 0 {
        let reason = format!("it is of {wanted} ranks after step {}", checkpoint.step);
        return Err(TrainError::Resume(reason));
    }
    let (shared, own) = (checkpoint.read(0)?, checkpoint.read(engine.world.rank)?);
    let shared = TensorFile::decode(&shared).map_err(failed)?;
    let own = TensorFile::decode(&own).map_err(failed)?;
    restore(engine, &shared, &own)?;
    let run = stamp.run;
    let run = run.ok_or_else(|| failed("rank 0's stamp has no state of the run".to_owned()))?;
    let (step, steps_per_epoch) = (checkpoint.step, engine.recipe.run_length.steps_per_epoch);
    let epoch =
        if run.epoch_is_over { step / steps_per_epoch } else { (step - 1) / steps_per_epoch };
    engine.progress = Progress { step, epoch };
    engine.ddp.barrier()?;
    Ok(run)
}
