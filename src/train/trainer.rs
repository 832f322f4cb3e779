//! The loop:
//!
//! ```text
//! build; warm up on synthetic images        no image of the data set has been read so far
//! run_start
//! for epoch in 1..=num_epochs:
//!     for batch in epoch:                     prefetched by the loader's threads
//!         step                                src/train/step.rs
//!     evaluate, where the recipe says so      over exactly all validation images
//!     run_stop(success), once accuracy > target
//! run_stop(aborted), if the target was never reached
//! ```
//!
//! Logging (`log`), events (`event_sink`) and reading images (`data`) are elsewhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tch::{Device, Kind, Tensor};

use super::{
    engine::{StepEngine, sampler},
    error::TrainError,
    event_sink::EventSink,
    log::RunLog,
    meter::Meter,
};
use crate::{
    data::{
        Cache, Dataset, EvalTransform, Loader, LoaderConfig, LoaderContext, Pool, Shard, Sharing,
        TrainSchedule, eval_plans, import, train_plans,
    },
    distributed::World,
    libtorch::Readout,
    mlperf::{Division, RunStatus},
    recipe::Recipe,
};

/// Trains one rank: the engine, and what drives it over epochs.
pub struct Trainer {
    pub(super) engine: StepEngine,
    pool: Pool,
    stop: Arc<AtomicBool>,
}

/// How a run ended without failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The target was exceeded.
    TargetReached,
    /// All epochs are done, and the target was not exceeded.
    TargetMissed,
}

impl Trainer {
    /// Builds the engine of `recipe`. A signal sets `stop`.
    pub fn build(
        recipe: &Recipe,
        world: &World,
        device: Device,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, TrainError> {
        let engine = StepEngine::build(recipe, world, device)?;
        Ok(Self { engine, pool: Pool::default(), stop })
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
        let log = log.stop(RunStatus::Aborted)?;
        if matches!(trained, Ok(_) | Err(TrainError::Interrupted)) {
            meter.run_stop(log.outcome(), &self.known(data));
        }
        trained
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
        for epoch in 1..=self.engine.recipe.run_length.num_epochs {
            log.write(|session| session.epoch_start(epoch))?;
            self.train_epoch(epoch, &mut loader, meter)?;
            log.write(|session| session.epoch_stop(epoch))?;
            if !self.engine.recipe.eval_epochs.contains(&epoch) {
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
        }
        Ok(end)
    }

    fn train_epoch(
        &mut self,
        epoch: usize,
        loader: &mut Loader,
        meter: &mut Meter,
    ) -> Result<(), TrainError> {
        let mut loss_sum = Tensor::zeros([], (Kind::Float, self.engine.device));
        self.engine.progress.epoch = epoch - 1;
        meter.epoch_start(epoch, loader.stats());
        for step in 1..=self.engine.recipe.run_length.steps_per_epoch {
            if self.stop.load(Ordering::Relaxed) {
                return Err(TrainError::Interrupted);
            }
            let batch = loader.next_batch()?.expect("every step has a plan");
            let begin = Instant::now();
            let device_batch = self.engine.uploader.upload(&batch)?;
            meter.copied(begin.elapsed());
            loss_sum += self.engine.step(&device_batch)?;
            if meter.is_due(step) {
                meter.steps(step, Readout::of(&loss_sum)?, loader.stats())?;
                let _ = loss_sum.zero_();
            }
        }
        meter.epoch_stop(loader.stats())?;
        meter.left_out(loader.take_bad());
        Ok(())
    }

    /// Top-1 accuracy over all validation images. Exactly one rank evaluates each image, once.
    fn evaluate(&mut self, data: &Dataset, meter: &mut Meter) -> Result<f64, TrainError> {
        let start = Instant::now();
        let mut loader = self.eval_loader(data);
        if self.engine.recipe.train.ddp.bn_sync_before_eval {
            let buffers = self.engine.model.weights().buffers().iter().map(|(_, tensor)| tensor);
            self.engine.ddp.mean(buffers)?;
        }
        self.engine.eval_weights.swap_in(self.engine.algorithms.eval_weights())?;
        let correct = Tensor::zeros([], (Kind::Int64, self.engine.device));
        let mut num_images = 0;
        while let Some(batch) = loader.next_batch()? {
            if self.stop.load(Ordering::Relaxed) {
                return Err(TrainError::Interrupted);
            }
            if !batch.is_empty() {
                num_images += batch.len() as i64;
                self.engine.count_correct(&self.engine.uploader.upload(&batch)?, &correct)?;
            }
        }
        self.engine.eval_weights.swap_out()?;
        // [correct, evaluated], over all ranks.
        let correct = Readout::of(&correct)?.value()? as i64;
        let counts = Tensor::from_slice(&[correct, num_images]);
        self.engine.ddp.sum(&counts)?;
        let counts = Vec::<i64>::try_from(&counts).expect("two numbers");
        meter.left_out(loader.take_bad());
        let counts = [counts[0] as u64, counts[1] as u64];
        Ok(meter.evaluated(counts, start.elapsed().as_secs_f64()))
    }

    pub(super) fn loader_config(&self) -> LoaderConfig {
        let data = &self.engine.recipe.data;
        let num_threads = match data.num_workers {
            0 => self.num_cores(),
            n => n,
        };
        let (batches_ahead, on_bad_image) = (data.batches_ahead, data.on_bad_image);
        let pool = self.pool.clone();
        LoaderConfig { num_threads, batches_ahead, on_bad_image, pool, ..LoaderConfig::default() }
    }

    /// Cores that this rank need not share.
    fn num_cores(&self) -> usize {
        self.engine.world.fraction_of(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// What the cures of waiting for data depend on.
    fn known(&self, data: &Dataset) -> LoaderContext {
        let recipe = &self.engine.recipe;
        LoaderContext {
            store: data.division(),
            division: match recipe.mlperf.division {
                Division::Closed => import::Division::ClosedSafe,
                Division::Open => import::Division::OpenOnly,
            },
            num_threads: self.loader_config().num_threads,
            num_cores: self.num_cores(),
            image_size: self.engine.recipe.crop_sizes.iter().copied().min().unwrap_or(0),
            order: recipe.data.order,
            transform: recipe.data.train,
        }
    }

    fn train_loader(&self, data: &Dataset) -> Result<Loader, TrainError> {
        let schedule = TrainSchedule {
            batch_per_rank: self.engine.recipe.batch_per_rank,
            steps_per_epoch: self.engine.recipe.run_length.steps_per_epoch,
            epochs: 0..self.engine.recipe.run_length.num_epochs,
            image_sizes: self.engine.recipe.crop_sizes.clone(),
            transform: self.engine.recipe.data.train,
        };
        let World { rank, world_size, master_port, .. } = self.engine.world;
        let shard = Shard { rank, world_size };
        let mut sampler = sampler(&self.engine.recipe, data.train.len(), shard);
        if schedule.transform.block_shuffle {
            sampler = sampler.in_blocks(data.train.block_len());
        }
        // Every machine reads for itself: its ranks share all the files and the images in memory.
        let (local_rank, num_local) = self.engine.world.on_machine();
        let on_machine = Shard { rank: local_rank, world_size: num_local };
        let sharing = if num_local > 1 { Sharing::Ranks(master_port) } else { Sharing::Alone };
        let cache = Cache::open(schedule.transform.ram_cache, data.train.num_keys(), sharing)?;
        let (warm, cache) = (Some(on_machine), cache.map(Arc::new));
        let config = LoaderConfig { warm, cache, ..self.loader_config() };
        Ok(Loader::start(Arc::clone(&data.train), train_plans(sampler, schedule), config))
    }

    pub(super) fn eval_loader(&self, data: &Dataset) -> Loader {
        let transform: EvalTransform = self.engine.recipe.data.eval;
        let World { rank, world_size, .. } = self.engine.world;
        let sampler = sampler(&self.engine.recipe, data.eval.len(), Shard { rank, world_size });
        let plans = eval_plans(&sampler, self.engine.recipe.eval_batch_per_rank, transform);
        Loader::start(Arc::clone(&data.eval), plans, self.loader_config())
    }
}
