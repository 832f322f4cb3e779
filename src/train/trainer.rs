//! The loop:
//!
//! ```text
//! build; warm up on synthetic images        no image of the data set has been read so far
//! run_start
//! for epoch in 1..=num_epochs:
//!     for batch in epoch:                     prefetched by the loader's threads
//!         step                                src/train/step.rs
//!         save a checkpoint or stop, where due
//!     evaluate, where the recipe says so      over exactly all validation images
//!     run_stop(success), once accuracy > target
//! run_stop(aborted), if the target was never reached
//! ```
//!
//! Logging (`log`), events (`event_sink`) and reading images (`data`) are elsewhere.

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
    time::Instant,
};

use tch::{Device, Tensor};

use super::{
    agreement::{Agreed, Agreement},
    checkpoint::{Checkpoints, EpochIs, resume},
    engine::StepEngine,
    error::TrainError,
    event_sink::EventSink,
    log::RunLog,
    losses::Losses,
    meter::Meter,
    statistics::Statistics,
};
use crate::{
    algorithms::Progress,
    data::{
        DataError, Dataset, Loader, LoaderContext, LoaderRank, Pool, Shard, StoreDivision,
        TrainSchedule,
    },
    distributed::World,
    events::{Activity, Pulse},
    libtorch::Readout,
    mlperf::{Division, RunStatus},
    optim::RunLength,
    recipe::Recipe,
    run_dir::{Checkpoint, RunState},
};

/// Trains one rank: the engine, and what drives it over epochs.
pub struct Trainer {
    pub(super) engine: StepEngine,
    pub(super) rank: LoaderRank,
    stop: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    /// The loader of the next evaluation, once it decodes ahead.
    next_eval: Option<Loader>,
    agreement: Agreement,
    /// Absent where nothing is to be resumed, as in benchmarks.
    checkpoints: Option<Checkpoints>,
}

/// Steps before an evaluation at which its loader begins to decode.
const EVAL_LEAD_STEPS: usize = 8;

/// How a run ended without failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The target was exceeded.
    TargetReached,
    /// All epochs are done, and the target was not exceeded.
    TargetMissed,
}

impl Trainer {
    /// Builds the engine of `recipe`. A signal sets `stop`; the trainer says in `pulse` what it does.
    pub fn build(
        recipe: &Recipe,
        world: &World,
        device: Device,
        (stop, pulse): (Arc<AtomicBool>, Arc<Pulse>),
    ) -> Result<Self, TrainError> {
        pulse.enter(Activity::Joining);
        let engine = StepEngine::build(recipe, world, device)?;
        Ok(Self::of(engine, (stop, pulse)))
    }

    /// Drives `engine`.
    pub(super) fn of(engine: StepEngine, (stop, pulse): (Arc<AtomicBool>, Arc<Pulse>)) -> Self {
        pulse.enter(Activity::WarmingUp);
        Self {
            rank: loader_rank(&engine.world),
            stop,
            pulse,
            next_eval: None,
            agreement: Agreement::new(engine.world.rank, 0),
            checkpoints: None,
            engine,
        }
    }

    /// Saves checkpoints in `run_dir` from now on.
    pub fn save_checkpoints(&mut self, run_dir: &Path) {
        self.checkpoints = Some(Checkpoints::new(run_dir, &self.engine));
    }

    /// Puts the state of `checkpoint` into the warmed-up engine. Returns the state of the run.
    pub fn resume(&mut self, checkpoint: &Checkpoint) -> Result<RunState, TrainError> {
        let run = resume(&mut self.engine, checkpoint)?;
        self.agreement = Agreement::new(self.engine.world.rank, checkpoint.step);
        Ok(run)
    }

    /// Trains to the target or to the last epoch. The log always ends in `run_stop`.
    pub fn run(
        &mut self,
        data: &Dataset,
        mut log: RunLog,
        event_sink: &mut EventSink,
    ) -> Result<RunEnd, TrainError> {
        let mut meter = Meter::new(&self.engine.world, &self.engine.recipe, event_sink);
        let trained = self.train(data, &mut log, &mut meter);
        // After a signal, a collective may fail because a peer has stopped already.
        let trained = match trained {
            Err(_) if self.stop.load(Ordering::Relaxed) => Err(TrainError::Interrupted),
            other => other,
        };
        let stopped = log.stop(RunStatus::Aborted);
        if let (Ok(log), Ok(_) | Err(TrainError::Interrupted)) = (&stopped, &trained) {
            meter.run_stop(log.outcome(), &self.known(data));
        }
        // The result must not wait for the disk.
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.finish(meter.event_sink());
        }
        stopped.and(trained)
    }

    fn train(
        &mut self,
        data: &Dataset,
        log: &mut RunLog,
        meter: &mut Meter,
    ) -> Result<RunEnd, TrainError> {
        // The first rank here must not open an image before rank 0 has started the clock.
        self.engine.ddp.barrier()?;
        let mut loader = self.train_loader(data)?;
        let mut end = RunEnd::TargetMissed;
        let RunLength { num_epochs, steps_per_epoch, .. } = self.engine.recipe.run_length;
        for epoch in self.engine.progress.epoch + 1..=num_epochs {
            // A run that is resumed within an epoch has logged its start.
            if self.engine.progress.step == (epoch - 1) * steps_per_epoch {
                log.write(|session| session.epoch_start(epoch))?;
            }
            self.train_epoch(epoch, data, &mut loader, (log, meter))?;
            log.write(|session| session.epoch_stop(epoch))?;
            if !self.engine.recipe.eval_epochs.contains(&epoch) {
                self.checkpoint_after(epoch, (log, meter));
                continue;
            }
            log.write(|session| session.eval_start(epoch))?;
            let accuracy = self.evaluate(data, meter)?;
            log.write(|session| session.eval_accuracy(epoch, accuracy))?;
            log.write(|session| session.eval_stop(epoch))?;
            if self.engine.recipe.mlperf.is_reached(accuracy) {
                end = RunEnd::TargetReached;
                *log = std::mem::replace(log, RunLog::Silent).stop(RunStatus::Success)?;
                if self.engine.recipe.mlperf.stop_on_target {
                    break;
                }
            }
            if end == RunEnd::TargetMissed {
                self.checkpoint_after(epoch, (log, meter));
            }
        }
        Ok(end)
    }

    /// Saves a checkpoint after `epoch` and its evaluation, if one is due. After the last epoch there is
    /// nothing to go on with.
    fn checkpoint_after(&mut self, epoch: usize, (log, meter): (&RunLog, &mut Meter)) {
        let recipe = &self.engine.recipe;
        let is_evaluated = recipe.eval_epochs.contains(&epoch);
        let is_due = self.checkpoints.as_ref().is_some_and(|checkpoints| {
            checkpoints.is_due_after(self.engine.progress.step)
                || (is_evaluated && checkpoints.is_due_after_evaluation())
        });
        if is_due && epoch < recipe.run_length.num_epochs {
            self.save(EpochIs::Over, (log, meter));
        }
    }

    /// Saves a checkpoint, or stops, where all ranks do so after the same step.
    fn between_steps(&mut self, (log, meter): (&RunLog, &mut Meter)) -> Result<(), TrainError> {
        let Self { engine, agreement, checkpoints, stop, .. } = self;
        let step = engine.progress.step;
        let asks = |it: fn(&Checkpoints) -> bool| checkpoints.as_ref().is_some_and(it);
        let agreed = agreement.after(step, &engine.ddp, || Agreed {
            stop: stop.load(Ordering::Relaxed),
            checkpoint: asks(Checkpoints::is_due_by_time),
        })?;
        let ends_epoch = step.is_multiple_of(engine.recipe.run_length.steps_per_epoch);
        let is_due = agreed.checkpoint
            || checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_due_after(step));
        // What is due at the end of an epoch follows its evaluation.
        if (is_due && !ends_epoch) || (agreed.stop && asks(Checkpoints::is_due_at_stop)) {
            self.save(EpochIs::Open, (log, meter));
        }
        if agreed.stop { Err(TrainError::Interrupted) } else { Ok(()) }
    }

    fn save(&mut self, epoch_is: EpochIs, (log, meter): (&RunLog, &mut Meter)) {
        let Some(checkpoints) = &mut self.checkpoints else { return };
        let how = (epoch_is, log.start_ms());
        checkpoints.save(&self.engine, how, meter.event_sink());
    }

    fn train_epoch(
        &mut self,
        epoch: usize,
        data: &Dataset,
        loader: &mut Loader,
        (log, meter): (&RunLog, &mut Meter),
    ) -> Result<(), TrainError> {
        let steps_per_epoch = self.engine.recipe.run_length.steps_per_epoch;
        let is_evaluated = self.engine.recipe.eval_epochs.contains(&epoch);
        self.engine.enter_epoch(epoch - 1)?;
        let num_done = self.engine.progress.step - (epoch - 1) * steps_per_epoch;
        meter.epoch_start(epoch, num_done, loader.stats());
        let mut losses = Losses::new(meter.interval(), self.engine.device);
        for step in num_done + 1..=steps_per_epoch {
            self.pulse.enter(Activity::Loading);
            let batch = loader.next_batch()?.expect("every step has a plan");
            self.pulse.enter(Activity::Stepping);
            let begin = Instant::now();
            let device_batch = self.engine.uploader.upload(&batch)?;
            meter.copied(begin.elapsed());
            losses.add(&self.engine.step(&device_batch)?);
            if meter.is_due(step) {
                meter.steps(step, losses.take()?, loader.stats())?;
            }
            self.pulse.count();
            self.between_steps((log, meter))?;
            let is_due = is_evaluated && step + EVAL_LEAD_STEPS >= steps_per_epoch;
            if is_due && self.next_eval.is_none() {
                self.next_eval = Some(self.eval_loader(data));
            }
        }
        meter.epoch_stop(loader.stats())?;
        meter.left_out(loader.take_bad());
        Ok(())
    }

    /// Top-1 accuracy over all validation images. Exactly one rank evaluates each image, once.
    fn evaluate(&mut self, data: &Dataset, meter: &mut Meter) -> Result<f64, TrainError> {
        let start = Instant::now();
        self.pulse.enter(Activity::Evaluating);
        let mut loader = self.next_eval.take().unwrap_or_else(|| self.eval_loader(data));
        if self.engine.recipe.train.ddp.bn_sync_before_eval {
            let buffers = self.engine.model.weights().moving_buffers().map(|(_, tensor)| tensor);
            self.engine.ddp.mean(buffers)?;
        }
        self.engine.eval_weights.swap_in(self.engine.algorithms.eval_weights())?;
        let statistics_s = self.retake_statistics(data)?;
        let _ = self.engine.num_correct.zero_();
        let mut num_images = 0;
        while let Some(batch) = loader.next_batch()? {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.pulse.count();
            if !batch.is_empty() {
                num_images += batch.len() as i64;
                self.engine.evaluate(&self.engine.uploader.upload(&batch)?)?;
            }
        }
        self.engine.eval_weights.swap_out()?;
        // [correct, evaluated, asked to stop], over all ranks.
        let correct = Readout::of(&self.engine.num_correct)?.value()? as i64;
        let is_asked_to_stop = i64::from(self.stop.load(Ordering::Relaxed));
        let counts = Tensor::from_slice(&[correct, num_images, is_asked_to_stop]);
        self.engine.ddp.sum(&counts)?;
        let counts = Vec::<i64>::try_from(&counts).expect("three numbers");
        if counts[2] > 0 {
            return Err(TrainError::Interrupted);
        }
        meter.left_out(loader.take_bad());
        let counts = [counts[0] as u64, counts[1] as u64];
        Ok(meter.evaluated(counts, [start.elapsed().as_secs_f64(), statistics_s]))
    }

    /// What the diagnosis of data waits needs to know.
    fn known(&self, data: &Dataset) -> LoaderContext {
        let recipe = &self.engine.recipe;
        LoaderContext {
            store: data.division(),
            division: match recipe.mlperf.division {
                Division::Closed => StoreDivision::ClosedSafe,
                Division::Open => StoreDivision::OpenOnly,
            },
            num_threads: recipe.data.num_threads(self.rank.num_cores),
            num_cores: self.rank.num_cores,
            image_size: recipe.crop_sizes.iter().copied().min().unwrap_or(0),
            order: recipe.data.order,
            transform: recipe.epoch_values[0].transform,
        }
    }

    fn train_loader(&self, data: &Dataset) -> Result<Loader, DataError> {
        let StepEngine { recipe, progress, .. } = &self.engine;
        let RunLength { steps_per_epoch, num_epochs, .. } = recipe.run_length;
        let start_step = progress.step - progress.epoch * steps_per_epoch;
        let schedule = self.schedule(progress.epoch..num_epochs, start_step);
        data.train_loader(&recipe.data, schedule, &self.rank)
    }

    /// The training batches of `epochs`, from 0, without the first `start_step`.
    fn schedule(&self, epochs: Range<usize>, start_step: usize) -> TrainSchedule {
        let recipe = &self.engine.recipe;
        TrainSchedule {
            batch_per_rank: recipe.batch_per_rank,
            steps_per_epoch: recipe.run_length.steps_per_epoch,
            epochs,
            start_step,
            image_sizes: recipe.crop_sizes.clone(),
            transforms: recipe.epoch_values.iter().map(|values| values.transform).collect(),
        }
    }

    /// Retakes batch norm's statistics for averaged weights in the network, over the last batches of this
    /// epoch. Returns the seconds that this took.
    fn retake_statistics(&mut self, data: &Dataset) -> Result<f64, TrainError> {
        let num_steps = self.engine.num_statistics_steps();
        if num_steps == 0 {
            return Ok(0.0);
        }
        let start = Instant::now();
        let StepEngine { recipe, progress: Progress { epoch, .. }, .. } = &self.engine;
        let start_step = recipe.run_length.steps_per_epoch - num_steps;
        let schedule = self.schedule(*epoch..epoch + 1, start_step);
        let mut loader = data.reread_loader(&recipe.data, schedule, &self.rank);
        let mut statistics = Statistics::of(&self.engine.model)?;
        while let Some(batch) = loader.next_batch()? {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.pulse.count();
            let device_batch = self.engine.uploader.upload(&batch)?;
            self.engine.add_statistics(&mut statistics, &device_batch)?;
        }
        self.engine.set_statistics(&statistics)?;
        // Waits for the device, as evaluation would.
        let _ = Readout::of(&self.engine.num_correct)?.value()?;
        Ok(start.elapsed().as_secs_f64())
    }

    pub(super) fn eval_loader(&self, data: &Dataset) -> Loader {
        let recipe = &self.engine.recipe;
        data.eval_loader(&recipe.data, recipe.eval_batch_per_rank, &self.rank)
    }
}

/// The rank that loads the images of `world`'s rank.
pub(super) fn loader_rank(world: &World) -> LoaderRank {
    let &World { rank, world_size, master_port, .. } = world;
    let (local_rank, num_local) = world.on_machine();
    LoaderRank {
        shard: Shard { rank, world_size },
        on_machine: Shard { rank: local_rank, world_size: num_local },
        group: master_port,
        num_cores: world.fraction_of(available_parallelism().map_or(1, usize::from)),
        pool: Pool::default(),
    }
}
