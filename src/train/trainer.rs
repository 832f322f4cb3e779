//! The loop:
//!
//! ```text
//! build; warm up on synthetic images        nothing of the data set has been read so far
//! run_start
//! for epoch in 1..=num_epochs:
//!     for batch in epoch:                     decoded ahead by the loader's threads
//!         step                                src/train/step.rs
//!     evaluate, where the recipe says so      over exactly all validation images
//!     run_stop(success), once accuracy > target
//! run_stop(aborted), if it never was
//! ```
//!
//! Absent on purpose: who logs (`log`), who watches (`events`), how images are read (`data`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tch::{Device, Kind, Tensor};

use super::{
    batch::{Layout, Uploader, num_bytes},
    captured_step::{CaptureMode, CapturedStep, GraphCapture},
    error::TrainError,
    evaluate::EvalWeights,
    event_sink::EventSink,
    log::RunLog,
    meter::Meter,
    step::kind,
    targets::Targets,
};
use crate::{
    algorithms::{Algorithms, GradientClipping, MethodContext, Progress},
    data::{
        Cache, Dataset, EvalTransform, Loader, LoaderConfig, LoaderContext, Pool, Sampler, Shard,
        Sharing, TrainSchedule, eval_plans, import, train_plans,
    },
    distributed::{BufferSync, Ddp, DistError, Shared, World},
    events::RunStatus,
    libtorch::{self, BridgeError, Math, Readout, TensorList},
    mllog::Status,
    model::{Named, Place, ResNet, init},
    optim::{LossScaler, Optimizer},
    recipe::{DdpConfig, Division, Precision, Recipe, TrainConfig},
};

/// Everything that a rank trains with.
pub struct Trainer {
    pub(super) recipe: Recipe,
    pub(super) world: World,
    pub(super) device: Device,
    pub(super) model: ResNet,
    /// Before `ddp`, for fields are dropped in order: NCCL takes a group down only once nothing
    /// that recorded its collectives is left.
    pub(super) captured: Vec<CapturedStep>,
    pub(super) capture: Option<GraphCapture>,
    pub(super) ddp: Ddp,
    pub(super) optimizer: Optimizer,
    pub(super) scaler: LossScaler,
    pub(super) uploader: Uploader,
    pub(super) algorithms: Algorithms,
    pub(super) eval_weights: EvalWeights,
    pub(super) progress: Progress,
    pub(super) mode: CaptureMode,
    pool: Pool,
    stop: Arc<AtomicBool>,
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The target was exceeded.
    TargetReached,
    /// All epochs are done and it was not.
    TargetMissed,
}

impl Trainer {
    /// Builds model, optimizer and the bond to the other ranks. `stop` is set by a signal.
    pub fn build(
        recipe: &Recipe,
        world: &World,
        device: Device,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, TrainError> {
        let TrainConfig { tf32, cudnn_benchmark: benchmark, deterministic, .. } = recipe.train;
        Math { tf32, benchmark, deterministic }.set()?;
        tch::manual_seed(recipe.seed as i64);
        let kind = kind(recipe.train.precision);
        let model = ResNet::new(&recipe.spec, Place { kind, device });
        init(model.weights(), &recipe.model.initializers);
        let layout = match recipe.algorithms.channels_last {
            Some(_) => Layout::ChannelsLast,
            None => Layout::ChannelsFirst,
        };
        if layout == Layout::ChannelsLast {
            let parameters = model.weights().parameters().iter().map(|(_, tensor)| tensor);
            parameters.filter(|t| t.dim() == 4).try_for_each(libtorch::set_channels_last)?;
        }
        let ddp = if world.world_size > 1 || recipe.train.ddp.in_world_of_one {
            Ddp::join(world, device, recipe.train.ddp.timeout_s)?
        } else {
            Ddp::alone()
        };
        let clipping = recipe.algorithms.gradient_clipping.as_ref();
        let optimizer = Optimizer::new(&recipe.optimizer, model.weights().parameters())?
            .clipped(clipping.map(GradientClipping::clip));
        let scaling = &recipe.train.grad_scaler;
        let scaler = match recipe.train.precision {
            Precision::AmpFp16 => {
                LossScaler::on(scaling.init_scale, scaling.growth_interval, device)
            }
            Precision::Fp32 | Precision::Fp64 | Precision::AmpBf16 => LossScaler::Off,
        };
        let smoothing = recipe.algorithms.label_smoothing.as_ref();
        let targets = Targets::new(smoothing, recipe.run_context.num_classes);
        let data = &recipe.data;
        let eval_weights = EvalWeights::new(model.weights())?;
        let place = (kind, device, largest_batch(recipe));
        let mut trainer = Self {
            uploader: Uploader::new(place, layout, (data.mean, data.std), targets)?,
            algorithms: algorithms(recipe, world.rank, eval_weights.trained())?,
            eval_weights,
            recipe: recipe.clone(),
            world: world.clone(),
            device,
            model,
            ddp,
            optimizer,
            scaler,
            progress: Progress::default(),
            mode: CaptureMode::on(device, recipe.train.cuda_graphs),
            captured: Vec::new(),
            capture: None,
            pool: Pool::default(),
            stop,
        };
        trainer.attach()?;
        Ok(trainer)
    }

    /// Makes all weights rank 0's and gradients means over ranks.
    pub(super) fn attach(&mut self) -> Result<(), DistError> {
        self.ddp.attach(&shared(&self.model, &self.recipe.train.ddp))
    }

    /// Trains to the target or to the last epoch. Whatever happens, the log ends in `run_stop`.
    pub fn run(
        &mut self,
        data: &Dataset,
        mut log: RunLog,
        event_sink: &mut EventSink,
    ) -> Result<RunEnd, TrainError> {
        let mut meter = Meter::new(&self.world, &self.recipe, event_sink);
        let trained = self.train(data, &mut log, &mut meter);
        // A signal may surface as a collective that fails because a peer has stopped already.
        let trained = match trained {
            Err(_) if self.stop.load(Ordering::Relaxed) => Err(TrainError::Interrupted),
            other => other,
        };
        let log = log.stop(Status::Aborted)?;
        if matches!(trained, Ok(_) | Err(TrainError::Interrupted)) {
            let clock = log.outcome().map(|(status, minutes)| (run_status(status), minutes));
            meter.run_stop(clock, &self.known(data));
        }
        trained
    }

    fn train(
        &mut self,
        data: &Dataset,
        log: &mut RunLog,
        meter: &mut Meter,
    ) -> Result<RunEnd, TrainError> {
        // Whoever is first here must not open an image before rank 0 has started the clock.
        self.ddp.barrier()?;
        let mut loader = self.train_loader(data)?;
        let mut end = RunEnd::TargetMissed;
        for epoch in 1..=self.recipe.run_length.num_epochs {
            log.write(|session| session.epoch_start(epoch))?;
            self.train_epoch(epoch, &mut loader, meter)?;
            log.write(|session| session.epoch_stop(epoch))?;
            if !self.recipe.eval_epochs.contains(&epoch) {
                continue;
            }
            log.write(|session| session.eval_start(epoch))?;
            let accuracy = self.evaluate(data, meter)?;
            log.write(|session| session.eval_accuracy(epoch, accuracy))?;
            log.write(|session| session.eval_stop(epoch))?;
            if self.recipe.mlperf.is_reached(accuracy) {
                end = RunEnd::TargetReached;
                *log = std::mem::replace(log, RunLog::Silent).stop(Status::Success)?;
                if self.recipe.mlperf.stop_on_target {
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
        let mut loss_sum = Tensor::zeros([], (Kind::Float, self.device));
        self.progress.epoch = epoch - 1;
        meter.epoch_start(epoch, loader.stats());
        for step in 1..=self.recipe.run_length.steps_per_epoch {
            if self.stop.load(Ordering::Relaxed) {
                return Err(TrainError::Interrupted);
            }
            let batch = loader.next_batch()?.expect("there is a plan for every step");
            let begin = Instant::now();
            let device_batch = self.uploader.upload(&batch)?;
            meter.copied(begin.elapsed());
            loss_sum += self.step(&device_batch)?;
            if meter.is_due(step) {
                meter.steps(step, Readout::of(&loss_sum)?, loader.stats())?;
                let _ = loss_sum.zero_();
            }
        }
        meter.epoch_stop(loader.stats())?;
        meter.left_out(loader.take_bad());
        Ok(())
    }

    /// Top-1 accuracy over all validation images, each judged once, by exactly one rank.
    fn evaluate(&mut self, data: &Dataset, meter: &mut Meter) -> Result<f64, TrainError> {
        let start = Instant::now();
        let mut loader = self.eval_loader(data);
        if self.recipe.train.ddp.bn_sync_before_eval {
            let buffers = self.model.weights().buffers().iter().map(|(_, tensor)| tensor);
            self.ddp.mean(buffers)?;
        }
        self.eval_weights.swap_in(self.algorithms.eval_weights())?;
        let right = Tensor::zeros([], (Kind::Int64, self.device));
        let mut num_images = 0;
        while let Some(batch) = loader.next_batch()? {
            if self.stop.load(Ordering::Relaxed) {
                return Err(TrainError::Interrupted);
            }
            if !batch.is_empty() {
                num_images += batch.len() as i64;
                self.count_correct(&self.uploader.upload(&batch)?, &right)?;
            }
        }
        self.eval_weights.swap_out()?;
        // [right, judged], over all ranks.
        let right = Readout::of(&right)?.value()? as i64;
        let counts = Tensor::from_slice(&[right, num_images]);
        self.ddp.sum(&counts)?;
        let counts = Vec::<i64>::try_from(&counts).expect("two numbers");
        meter.left_out(loader.take_bad());
        let counts = [counts[0] as u64, counts[1] as u64];
        Ok(meter.evaluated(counts, start.elapsed().as_secs_f64()))
    }

    pub(super) fn loader_config(&self) -> LoaderConfig {
        let data = &self.recipe.data;
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
        self.world.fraction_of(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// What the cures of waiting for data depend on.
    fn known(&self, data: &Dataset) -> LoaderContext {
        let recipe = &self.recipe;
        LoaderContext {
            store: data.division(),
            division: match recipe.mlperf.division {
                Division::Closed => import::Division::ClosedSafe,
                Division::Open => import::Division::OpenOnly,
            },
            num_threads: self.loader_config().num_threads,
            num_cores: self.num_cores(),
            image_size: self.recipe.crop_sizes.iter().copied().min().unwrap_or(0),
            order: recipe.data.order,
            transform: recipe.data.train,
        }
    }

    pub(super) fn sampler(&self, num_samples: usize, shard: Shard) -> Sampler {
        let seed = self.recipe.order_seed;
        Sampler::new(num_samples, shard, seed).ordered(self.recipe.data.order)
    }

    fn train_loader(&self, data: &Dataset) -> Result<Loader, TrainError> {
        let schedule = TrainSchedule {
            batch_per_rank: self.recipe.batch_per_rank,
            steps_per_epoch: self.recipe.run_length.steps_per_epoch,
            epochs: 0..self.recipe.run_length.num_epochs,
            image_sizes: self.recipe.crop_sizes.clone(),
            transform: self.recipe.data.train,
        };
        let World { rank, world_size, master_port, .. } = self.world;
        let shard = Shard { rank, world_size };
        let mut sampler = self.sampler(data.train.len(), shard);
        if schedule.transform.block_shuffle {
            sampler = sampler.in_blocks(data.train.block_len());
        }
        // Every machine reads for itself: its ranks share all the files and the images in memory.
        let (local_rank, num_local) = self.world.on_machine();
        let on_machine = Shard { rank: local_rank, world_size: num_local };
        let sharing = if num_local > 1 { Sharing::Ranks(master_port) } else { Sharing::Alone };
        let cache = Cache::open(schedule.transform.ram_cache, data.train.num_keys(), sharing)?;
        let (warm, cache) = (Some(on_machine), cache.map(Arc::new));
        let config = LoaderConfig { warm, cache, ..self.loader_config() };
        Ok(Loader::start(Arc::clone(&data.train), train_plans(sampler, schedule), config))
    }

    pub(super) fn eval_loader(&self, data: &Dataset) -> Loader {
        let transform: EvalTransform = self.recipe.data.eval;
        let World { rank, world_size, .. } = self.world;
        let sampler = self.sampler(data.eval.len(), Shard { rank, world_size });
        let plans = eval_plans(&sampler, self.recipe.eval_batch_per_rank, transform);
        Loader::start(Arc::clone(&data.eval), plans, self.loader_config())
    }
}

/// Bytes of the largest batch that a rank is given.
fn largest_batch(recipe: &Recipe) -> usize {
    let image_size = recipe.crop_sizes.iter().copied().max().unwrap_or(0);
    let train = num_bytes(recipe.batch_per_rank, image_size);
    train.max(num_bytes(recipe.eval_batch_per_rank, recipe.data.eval.crop_size))
}

/// The methods of `recipe` in their first state.
pub(super) fn algorithms(
    recipe: &Recipe,
    rank: usize,
    weights: &TensorList,
) -> Result<Algorithms, BridgeError> {
    let Recipe { run_length, image_sizes, seed, .. } = recipe;
    let context = MethodContext { weights, run_length, image_sizes, seed: *seed, rank };
    recipe.algorithms.start(&context)
}

fn shared<'a>(model: &'a ResNet, config: &DdpConfig) -> Shared<'a> {
    let tensors = |named: &'a [Named]| named.iter().map(|(_, tensor)| tensor).collect();
    Shared {
        parameters: tensors(model.weights().parameters()),
        buffers: tensors(model.weights().buffers()),
        sync: if config.broadcast_buffers { BufferSync::EachForward } else { BufferSync::Start },
        bucket_mb: config.bucket_mb,
    }
}

fn run_status(status: Status) -> RunStatus {
    match status {
        Status::Success => RunStatus::Success,
        Status::Aborted => RunStatus::Aborted,
    }
}
