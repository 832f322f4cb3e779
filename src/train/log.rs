//! The MLPerf log of a run. Rank 0 writes it. On every other rank the same calls do nothing; only
//! this module knows the difference.

use std::{fs::File, path::Path};

use super::error::TrainError;
use crate::{
    distributed::World,
    mllog::{
        AdamOptions, Hyperparameters, Init, LarsOptions, Optimizer, PlainOptions, Ready, Running,
        Session, SgdOptions, Stopped, Submission, SystemClock, clear_page_cache, reference_name,
    },
    mlperf::{Division, RunStatus},
    model::Weights,
    optim::{OptimizerName, UpdateConstants},
    recipe::{MlperfConfig, Recipe},
};

/// The log before the clock starts.
pub struct InitLog(Option<Session<Init>>);

/// The log after everything is built.
pub struct ReadyLog(Option<Session<Ready>>);

/// The log while the clock runs, and afterwards.
pub enum RunLog {
    /// Not rank 0.
    Silent,
    /// The clock runs.
    Running(Session<Running>),
    /// The clock has stopped.
    Stopped(Session<Stopped>),
}

impl InitLog {
    /// Opens `path`, empties the page cache and logs `init_start`.
    pub fn open(path: &Path, world: &World, recipe: &Recipe) -> Result<Self, TrainError> {
        let mlperf = &recipe.mlperf;
        if !world.is_main() {
            // Each machine has its own page cache; the log tells of that of rank 0.
            if world.local_rank == 0 {
                clear_page_cache(&mlperf.cache_clear);
            }
            return Ok(Self(None));
        }
        let file = File::create_new(path)
            .map_err(|source| TrainError::File { path: path.to_owned(), source })?;
        let submission = Submission {
            org: mlperf.org.clone(),
            platform: mlperf.platform.clone(),
            division: mlperf.division.as_str().to_owned(),
            status: mlperf.status.clone(),
            benchmark: "resnet".to_owned(),
            poc_name: None,
        };
        let session = Session::<Init>::open(Box::new(file), Box::new(SystemClock))
            .submission(&submission)?
            .cache_clear(&clear_page_cache(&mlperf.cache_clear))?
            .init_start()?;
        Ok(Self(Some(session)))
    }

    /// Logs the hyperparameters, the initialized weights where the ruleset asks for them, and
    /// `init_stop`.
    pub fn init_stop(self, recipe: &Recipe, weights: &Weights) -> Result<ReadyLog, TrainError> {
        let Some(session) = self.0 else { return Ok(ReadyLog(None)) };
        let session = session.hyperparameters(&hyperparameters(recipe))?;
        let session = if wants_weights(&recipe.mlperf) {
            let names = weights.parameters().iter().filter_map(|(name, _)| reference_name(name));
            session.weights_initialization(names)?
        } else {
            session
        };
        Ok(ReadyLog(Some(session.init_stop()?)))
    }
}

/// Whether the ruleset lists the initialized weights: the closed division up to 2.1.0 does.
fn wants_weights(mlperf: &MlperfConfig) -> bool {
    mlperf.division == Division::Closed && mlperf.ruleset.starts_with("2.")
}

fn hyperparameters(recipe: &Recipe) -> Hyperparameters {
    let (opt_name, optimizer) = optimizer(recipe);
    Hyperparameters {
        seed: recipe.seed,
        global_batch_size: recipe.run_length.batch_size,
        train_samples: recipe.run_context.num_train,
        eval_samples: recipe.run_context.num_eval,
        gradient_accumulation_steps: recipe.batch_per_rank / recipe.microbatch(),
        bn_span: recipe.microbatch(),
        opt_name: opt_name.to_owned(),
        optimizer,
    }
}

/// `opt_name`, and the optimizer's hyperparameters under their log keys.
fn optimizer(recipe: &Recipe) -> (&'static str, Optimizer) {
    let (config, schedule) = (&recipe.optimizer, &recipe.schedule);
    // The log has one value for the whole run: that of its first step.
    let UpdateConstants { momentum, weight_decay } = recipe.epoch_values[0].update;
    let plain = PlainOptions {
        base_learning_rate: config.lr.peak(),
        end_learning_rate: recipe.end_lr(),
        decay_steps: schedule.decay_steps(),
        weight_decay,
        warmup_epochs: schedule.warmup_steps() as f64 / recipe.run_length.steps_per_epoch as f64,
    };
    let adam = |plain| AdamOptions { plain, betas: config.betas(), epsilon: config.epsilon() };
    match config.name {
        OptimizerName::Sgd | OptimizerName::DecoupledSgdw => {
            let options = SgdOptions {
                base_learning_rate: plain.base_learning_rate,
                end_learning_rate: Some(plain.end_learning_rate),
                decay_poly_power: recipe.scheduler.power(),
                decay_steps: Some(plain.decay_steps),
                momentum,
                weight_decay: plain.weight_decay,
                warmup_epochs: plain.warmup_epochs,
            };
            ("sgd", Optimizer::Sgd(options))
        }
        OptimizerName::Lars => {
            let options = LarsOptions {
                base_learning_rate: plain.base_learning_rate,
                end_learning_rate: plain.end_learning_rate,
                decay_poly_power: recipe.scheduler.power(),
                decay_steps: plain.decay_steps,
                epsilon: config.epsilon(),
                momentum,
                weight_decay: plain.weight_decay,
                warmup_epochs: plain.warmup_epochs,
            };
            ("lars", Optimizer::Lars(options))
        }
        OptimizerName::Adamw | OptimizerName::DecoupledAdamw => {
            ("adamw", Optimizer::Adamw(adam(plain)))
        }
        OptimizerName::Lamb => ("lamb", Optimizer::Lamb(adam(plain))),
        OptimizerName::Muon => ("muon", Optimizer::Plain(plain)),
    }
}

impl ReadyLog {
    /// Starts the clock.
    pub fn run_start(self) -> Result<RunLog, TrainError> {
        let Some(session) = self.0 else { return Ok(RunLog::Silent) };
        Ok(RunLog::Running(session.run_start()?))
    }
}

impl RunLog {
    /// Writes to the log while the clock runs.
    pub fn write(
        &mut self,
        capture: impl FnOnce(&mut Session<Running>) -> Result<(), crate::mllog::MllogError>,
    ) -> Result<(), TrainError> {
        match self {
            Self::Running(session) => Ok(capture(session)?),
            Self::Silent | Self::Stopped(_) => Ok(()),
        }
    }

    /// Marks the log of a run that began with the weights at `path`.
    pub fn pretrained(&mut self, path: &Path) -> Result<(), TrainError> {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        self.write(|session| session.pretrained(&file))
    }

    /// Goes on with the log of a run that is resumed after `step` steps, in `epoch`, from 1. The clock
    /// has not stopped.
    pub fn resume(
        path: &Path,
        world: &World,
        start_ms: u64,
        [epoch, step]: [usize; 2],
    ) -> Result<Self, TrainError> {
        if !world.is_main() {
            return Ok(Self::Silent);
        }
        let file = File::options().append(true).open(path);
        let file = file.map_err(|source| TrainError::File { path: path.to_owned(), source })?;
        let mut session =
            Session::<Running>::resume(Box::new(file), Box::new(SystemClock), start_ms);
        session.resumed(epoch, step)?;
        Ok(Self::Running(session))
    }

    /// When the clock was started, ms since the Unix epoch; 0 on ranks other than 0.
    pub fn start_ms(&self) -> u64 {
        match self {
            Self::Running(session) => session.start_ms(),
            Self::Silent | Self::Stopped(_) => 0,
        }
    }

    /// Stops the clock, if it runs.
    pub fn stop(self, status: RunStatus) -> Result<Self, TrainError> {
        match self {
            Self::Running(session) => Ok(Self::Stopped(session.run_stop(status)?)),
            other => Ok(other),
        }
    }

    /// The status of the run and its minutes, after the clock has stopped.
    pub fn outcome(&self) -> Option<(RunStatus, f64)> {
        match self {
            Self::Stopped(session) => {
                Some((session.status(), session.elapsed_ms() as f64 / 60_000.0))
            }
            Self::Silent | Self::Running(_) => None,
        }
    }
}
