//! Runs one rank, from its recipe to `run_stop`.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use tch::Device;

use super::{
    engine::{StepEngine, process_group},
    error::TrainError,
    event_sink::EventSink,
    log::{InitLog, RunLog},
    same_inputs::check_same_inputs,
    trainer::{RunEnd, Trainer},
    weights_file::save_weights,
};
use crate::{
    data::Dataset,
    distributed::World,
    events::{Activity, Pulse, RankEvent},
    libtorch,
    recipe::{self, DeviceChoice, Origin, Recipe, RecipeFile, RunContext, Source},
    run_dir::{self, Checkpoint},
    weights::Usage,
};

/// The arguments of a rank.
pub struct RankJob {
    /// The resolved recipe.
    pub recipe: PathBuf,
    /// Folder of this run's files.
    pub run_dir: PathBuf,
    /// The place of this rank in the world.
    pub world: World,
    /// The checkpoint that the run goes on from.
    pub resume: Option<Checkpoint>,
    /// Set by a signal.
    pub stop: Arc<AtomicBool>,
    /// Says what the rank does.
    pub pulse: Arc<Pulse>,
}

/// Trains as `job` says and reports to `event_sink`.
pub fn run_rank(job: &RankJob, event_sink: &mut EventSink) -> Result<RunEnd, TrainError> {
    let (recipe, data) = read_recipe(job)?;
    let device = device(&recipe, &job.world)?;
    let log = match job.resume {
        Some(_) => None,
        None => Some(InitLog::open(&job.run_dir.join(run_dir::LOG), &job.world, &recipe)?),
    };
    job.pulse.enter(Activity::Joining);
    let ddp = process_group(&recipe, &job.world, device)?;
    // Weights of other sizes could not even be sent.
    check_same_inputs(&ddp, &recipe, &data)?;
    let mut engine_recipe = recipe.clone();
    if job.resume.is_some() {
        // The checkpoint has the weights.
        engine_recipe.model.weights = None;
    }
    let engine = StepEngine::on(ddp, &engine_recipe, &job.world, device)?;
    let mut trainer = Trainer::of(engine, (Arc::clone(&job.stop), Arc::clone(&job.pulse)));
    let ended = train(job, &mut trainer, &data, log, event_sink);
    if ended.is_err() && device.is_cuda() {
        // The process ends now and frees everything. Dropping what belongs to a GPU or a process
        // group that no longer answers may wait forever.
        std::mem::forget(trainer);
    }
    ended
}

/// Warms up, trains and saves the weights.
fn train(
    job: &RankJob,
    trainer: &mut Trainer,
    data: &Dataset,
    log: Option<InitLog>,
    event_sink: &mut EventSink,
) -> Result<RunEnd, TrainError> {
    for message in trainer.engine.warm_up()? {
        event_sink.send(&RankEvent::Warning { message });
    }
    event_sink.send_own(&RankEvent::Ready {
        rank: job.world.rank,
        device: match trainer.engine.device {
            Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".to_owned(),
        },
        num_threads: tch::get_num_threads() as usize,
        num_params: trainer.engine.model.weights().num_parameters(),
    });
    let recipe = trainer.engine.recipe.clone();
    let log = match (log, &job.resume) {
        (Some(log), None) => {
            let log = log.init_stop(&recipe, trainer.engine.model.weights())?;
            let mut log = log.run_start()?;
            recipe.model.weights.iter().try_for_each(|path| log.pretrained(path))?;
            log
        }
        (_, resume) => resumed(job, trainer, resume.as_ref().expect("else the log was opened"))?,
    };
    event_sink.send(&RankEvent::RunStart {
        time_ms: log.start_ms(),
        num_train: recipe.run_context.num_train,
        num_eval: recipe.run_context.num_eval,
        num_epochs: recipe.run_length.num_epochs,
        steps_per_epoch: recipe.run_length.steps_per_epoch,
        batch_size: recipe.run_length.batch_size,
        target: recipe.mlperf.target,
    });
    trainer.save_checkpoints(&job.run_dir);
    let end = trainer.run(data, log, event_sink)?;
    if job.world.is_main() {
        let path = job.run_dir.join(run_dir::WEIGHTS);
        let num_steps = trainer.engine.progress.step;
        let usage = Usage { recipe: recipe.usage(), classes: data.train.classes().to_owned() };
        save_weights(trainer.engine.eval_weights()?, num_steps, &usage, &path)?;
    }
    Ok(end)
}

/// Puts the state of `checkpoint` into the warmed-up trainer, and goes on with the log.
fn resumed(
    job: &RankJob,
    trainer: &mut Trainer,
    checkpoint: &Checkpoint,
) -> Result<RunLog, TrainError> {
    let run = trainer.resume(checkpoint)?;
    let progress = trainer.engine.progress;
    let path = job.run_dir.join(run_dir::LOG);
    if job.world.is_main() {
        checkpoint.copy_log(&path)?;
    }
    RunLog::resume(&path, &job.world, run.start_ms, [progress.epoch + 1, progress.step])
}

pub(super) fn load(job: &RankJob) -> Result<RecipeFile, TrainError> {
    let text = fs::read_to_string(&job.recipe)
        .map_err(|source| TrainError::File { path: job.recipe.clone(), source })?;
    let name = job.recipe.display().to_string();
    let source = Source { name, text, origin: Origin::File(job.recipe.clone()) };
    Ok(recipe::load(&source, &[])?)
}

/// The recipe of `job`, resolved for `run_context` without opening its data set.
pub(super) fn resolved(job: &RankJob, run_context: &RunContext) -> Result<Recipe, TrainError> {
    Ok(Recipe::resolve(load(job)?, run_context)?)
}

fn read_recipe(job: &RankJob) -> Result<(Recipe, Dataset), TrainError> {
    let file = load(job)?;
    let (wanted, world_size) = (file.run.num_ranks, job.world.world_size);
    if wanted != 0 && wanted != world_size {
        return Err(TrainError::NumRanks { wanted, world_size });
    }
    // This reads names and labels only: no image is opened before run_start.
    let path = file.data.path.clone().unwrap_or_default();
    let data = Dataset::open(&path)?;
    recipe::check_images(&file, data.division())?;
    data.check_in_place(file.data.on_bad_image)?;
    let run_context = RunContext {
        world_size: job.world.world_size,
        num_classes: data.num_classes(),
        num_train: data.train.len(),
        num_eval: data.eval.len(),
    };
    Ok((Recipe::resolve(file, &run_context)?, data))
}

/// The device of this rank. Must be the first call into libtorch, which loads CUDA here or never.
pub(super) fn device(recipe: &Recipe, world: &World) -> Result<Device, TrainError> {
    let (choice, timeout_s) = (recipe.run.device, recipe.train.ddp.timeout_s);
    if choice == DeviceChoice::Cpu {
        return Ok(Device::Cpu);
    }
    let problem = match libtorch::load_cuda() {
        Ok(()) if tch::Cuda::device_count() > world.local_rank as i64 => {
            libtorch::use_gpu(world.local_rank, timeout_s)?;
            return Ok(Device::Cuda(world.local_rank));
        }
        Ok(()) => {
            let (num_gpus, rank) = (tch::Cuda::device_count(), world.local_rank);
            format!("libtorch finds {num_gpus} GPUs, and local rank {rank} needs one")
        }
        Err(error) => format!("libtorch cannot use GPUs ({error})"),
    };
    match choice {
        DeviceChoice::Auto => Ok(Device::Cpu),
        _ => Err(TrainError::Device(format!(
            "{problem}; run scripts/setup where the GPU is, name a whole PyTorch 2.11.0 by \
             --libtorch, or train with --device cpu"
        ))),
    }
}
