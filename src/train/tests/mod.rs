//! What must hold between ranks, and before the clock starts.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use tch::{Device, Kind, Tensor};

use super::{
    batch::DeviceBatch,
    captured_step::{CaptureMode, CapturedStep},
    engine::StepEngine,
};
use crate::{
    algorithms,
    distributed::World,
    libtorch::{
        self,
        kernels::{Kernels, TEXT},
    },
    model::{Arch, Block, CustomConfig, Mode},
    optim::mean_loss,
    recipe::{Precision, Recipe, RecipeFile, RunContext},
};

mod capture;
mod equal_losses;
mod freezing;
mod methods;
mod microbatch;
mod statistics;
mod step;

const IMAGE_SIZE: usize = 16;
const NUM_CLASSES: usize = 4;
const GLOBAL_BATCH: usize = 8;

/// torch has one random state for the whole process, so tests that use it take turns.
pub(super) fn in_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn recipe(world_size: usize) -> Recipe {
    let mut file = RecipeFile::default();
    file.run.seed = Some(11);
    file.run.max_duration = "4ep".parse().unwrap();
    file.model.arch = Arch::Custom;
    file.model.custom = Some(CustomConfig { block: Block::Basic, depths: vec![1, 1], width: 8 });
    file.data.train.crop_size = IMAGE_SIZE.into();
    file.data.eval.crop_size = IMAGE_SIZE;
    file.train.batch_size = GLOBAL_BATCH;
    file.optimizer.lr = 0.1.into();
    file.scheduler.t_warmup = "0ep".parse().unwrap();
    file.algorithms.channels_last = Some(algorithms::ChannelsLast {});
    file.algorithms.blurpool = Some(algorithms::BlurPool::default());
    file.algorithms.blurpool.as_mut().unwrap().min_channels = 8;
    let run_context =
        RunContext { world_size, num_classes: NUM_CLASSES, num_train: 64, num_eval: 8 };
    Recipe::resolve(file, &run_context).unwrap()
}

fn engine(recipe: &Recipe, rank: usize, port: u16) -> StepEngine {
    let world = World {
        rank,
        local_rank: rank,
        local_world_size: recipe.run_context.world_size,
        world_size: recipe.run_context.world_size,
        master_addr: "127.0.0.1".to_owned(),
        master_port: port,
        key: String::new(),
    };
    StepEngine::build(recipe, &world, Device::Cpu).unwrap()
}

/// Samples `fraction` of global batch `step`, the same images for every world size.
fn batch(engine: &StepEngine, step: usize, fraction: std::ops::Range<usize>) -> DeviceBatch {
    let pixel = |i: usize| ((i * 2_654_435_761 + step * 97) >> 7) as u8;
    let size = IMAGE_SIZE * IMAGE_SIZE * 3;
    let bytes: Vec<u8> = (fraction.start * size..fraction.end * size).map(pixel).collect();
    let labels: Vec<i64> = fraction.map(|i| ((i + step) % NUM_CLASSES) as i64).collect();
    engine.uploader.upload_parts(&bytes, &labels, IMAGE_SIZE).unwrap()
}

fn numbers<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Vec<Vec<f32>> {
    let flat = |t: &Tensor| Vec::try_from(t.detach().contiguous().view([-1])).unwrap();
    tensors.map(flat).collect()
}

fn weights(engine: &StepEngine) -> Vec<Vec<f32>> {
    numbers(engine.model.weights().all().map(|(_, tensor)| tensor))
}

/// Sets the same weights in every world. Threads share torch's random state, so what `build` drew
/// depends on the order of the threads.
fn refill(engine: &StepEngine) {
    tch::no_grad(|| {
        for (i, (_, tensor)) in engine.model.weights().parameters().iter().enumerate() {
            let number = |j: usize| ((i + 31 * j) % 17) as f32 / 34.0 - 0.2;
            let numbers: Vec<f32> = (0..tensor.numel()).map(number).collect();
            let filled = Tensor::from_slice(&numbers).view_as(tensor);
            tensor.shallow_clone().copy_(&filled);
        }
    });
}

/// Runs `forward_backward_update` as each rank of the world of `recipe`, one thread a rank, and returns the results by rank.
pub(super) fn in_world<T: Send>(
    recipe: &Recipe,
    work: impl Fn(usize, StepEngine) -> T + Sync,
) -> Vec<T> {
    static PORT: AtomicU16 = AtomicU16::new(0);
    let base = 21_000 + (std::process::id() % 1000) as u16 * 8;
    let port = base + PORT.fetch_add(1, Ordering::Relaxed);
    thread::scope(|scope| {
        let ranks: Vec<_> = (0..recipe.run_context.world_size)
            .map(|rank| {
                let work = &work;
                scope.spawn(move || work(rank, engine(recipe, rank, port)))
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}
