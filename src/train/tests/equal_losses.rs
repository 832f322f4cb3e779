//! The engine against plain `PyTorch`: the same weights and batches give the same losses. The
//! reference is `scripts/oracle/reference_losses.py`, whose sizes, weights and images are repeated here.

use std::path::Path;

use tch::{Tensor, no_grad};

use super::{in_turn, in_world};
use crate::{
    algorithms::LayerFreezing,
    model::{Arch, Block, CustomConfig, Mode},
    optim::mean_loss,
    recipe::{self, Precision, Recipe, RecipeFile, RunContext},
    train::{batch::DeviceBatch, engine::StepEngine},
};

const CROP: usize = 32;
const BATCH: usize = 32;
const STEPS_PER_EPOCH: usize = 5;
const NUM_STEPS: usize = 50;

/// Number `i` of stream `p`, in [0, 1).
fn uniform(i: usize, p: usize) -> f64 {
    let start = (i as u32).wrapping_mul(2_654_435_761);
    let start = start.wrapping_add((p as u32).wrapping_mul(2_246_822_519));
    let mixed = [0x85eb_ca6b, 0xc2b2_ae35]
        .iter()
        .fold(start, |x: u32, factor| (x ^ (x >> 16)).wrapping_mul(*factor));
    f64::from(mixed ^ (mixed >> 16)) / 4_294_967_296.0
}

/// A published recipe on a narrow network and small images.
fn narrow(mut file: RecipeFile, world_size: usize, precision: Precision) -> Recipe {
    file.run.seed = Some(0);
    file.run.max_duration = "10ep".parse().unwrap();
    file.run.scale_schedule_ratio = 1.0;
    file.model.arch = Arch::Custom;
    file.model.num_classes = 10;
    file.model.custom =
        Some(CustomConfig { block: Block::Bottleneck, depths: vec![1, 1], width: 8 });
    file.data.train.crop_size = CROP.into();
    file.data.eval.crop_size = CROP;
    file.train.batch_size = BATCH;
    file.eval.batch_size = BATCH;
    file.train.precision = precision;
    file.scheduler.t_warmup = "2ep".parse().unwrap();
    let num_train = BATCH * STEPS_PER_EPOCH;
    let run_context = RunContext { world_size, num_classes: 10, num_train, num_eval: BATCH };
    Recipe::resolve(file, &run_context).unwrap()
}

fn optimized(world_size: usize, precision: Precision) -> Recipe {
    let mut file = recipe::load(&recipe::find("optimized").unwrap(), &[]).unwrap();
    file.optimizer.lr = 0.1.into();
    file.algorithms.fixres = None;
    let ema = file.algorithms.ema.as_mut().unwrap();
    ema.half_life = "10ba".parse().unwrap();
    ema.update_interval = "2ba".parse().unwrap();
    narrow(file, world_size, precision)
}

/// `optimized` with layers frozen one after another.
fn frozen(world_size: usize, precision: Precision) -> Recipe {
    let mut file = optimized(world_size, precision).to_file();
    file.algorithms.layer_freezing = Some(LayerFreezing { start: 0.2, level: 0.8 });
    narrow(file, world_size, precision)
}

fn nvidia_closed(world_size: usize, precision: Precision) -> Recipe {
    let mut file = recipe::load(&recipe::find("nvidia-closed").unwrap(), &[]).unwrap();
    file.mlperf.division = crate::mlperf::Division::Open;
    file.optimizer.lr = 1.0.into();
    narrow(file, world_size, precision)
}

fn refill(engine: &StepEngine) {
    for (p, (name, tensor)) in engine.model.weights().parameters().iter().enumerate() {
        let size = tensor.size();
        let fan_in = size.iter().skip(1).product::<i64>() as f64;
        let fill = |v: f64| match (size.len(), name.ends_with("weight")) {
            (2.., _) => v * (12.0 * 2.0 / fan_in).sqrt(),
            (_, true) => 0.5 + 0.4 * v,
            (_, false) => 0.2 * v,
        };
        let numbers: Vec<f64> = (0..tensor.numel()).map(|i| fill(uniform(i, p) - 0.5)).collect();
        no_grad(|| {
            let filled = Tensor::from_slice(&numbers).view(size.as_slice());
            tensor.shallow_clone().copy_(&filled);
        });
    }
}

/// The part of the batch of `step` that `rank` trains on.
fn batch(engine: &StepEngine, step: usize, rank: usize) -> DeviceBatch {
    let fraction = BATCH / engine.recipe.run_context.world_size;
    let size = CROP * CROP * 3;
    let (from, to) = (rank * fraction, (rank + 1) * fraction);
    let pixel = |i| (uniform(i, 1000 + step) * 256.0) as u8;
    let bytes: Vec<u8> = (from * size..to * size).map(pixel).collect();
    let labels: Vec<i64> = (from..to).map(|i| (uniform(i, 5000 + step) * 10.0) as i64).collect();
    engine.uploader.upload_parts(&bytes, &labels, CROP).unwrap()
}

/// Losses of `rank` by step, and at the end the loss of the weights to evaluate on the first batch.
fn losses(rank: usize, mut engine: StepEngine) -> Vec<f64> {
    refill(&engine);
    let number = |tensor: &Tensor| f64::try_from(tensor).unwrap();
    let mut losses = Vec::new();
    for step in 0..NUM_STEPS {
        engine.enter_epoch(step / STEPS_PER_EPOCH).unwrap();
        let batch = batch(&engine, step, rank);
        losses.push(number(&engine.step(&batch).unwrap()));
    }
    engine.eval_weights().unwrap();
    // All ranks evaluate the whole first batch, part by part.
    let world_size = engine.recipe.run_context.world_size;
    let eval_weights = (0..world_size).map(|rank| {
        let batch = engine.train_batch(&batch(&engine, 0, rank));
        let forward = || engine.eval_forward.logits(&engine.model, &batch.images, Mode::Eval);
        let logits = no_grad(forward).unwrap();
        number(&mean_loss(engine.recipe.loss.name, &logits, &batch.targets))
    });
    losses.push(eval_weights.sum::<f64>() / world_size as f64);
    losses
}

/// The same on emulated fused kernels.
fn fused_losses(rank: usize, mut engine: StepEngine) -> Vec<f64> {
    engine.emulate_fused();
    losses(rank, engine)
}

/// The reference's losses: by step, then by rank.
fn reference(name: &str) -> Vec<Vec<f64>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/equal_losses");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let row = |line: &str| line.split(' ').map(|number| number.parse().unwrap()).collect();
    text.lines().map(row).collect()
}

/// Relative differences by step, the largest over ranks.
fn differences(
    name: &str,
    recipe: fn(usize, Precision) -> Recipe,
    world_size: usize,
    losses: fn(usize, StepEngine) -> Vec<f64>,
) -> [Vec<f64>; 2] {
    [(Precision::Fp64, "fp64"), (Precision::Fp32, "fp32")].map(|(precision, kind)| {
        let ours = in_world(&recipe(world_size, precision), losses);
        let theirs = reference(&format!("{name}-{world_size}-{kind}.txt"));
        assert_eq!(theirs.len(), NUM_STEPS + 1);
        let largest = |(step, by_rank): (usize, &Vec<f64>)| {
            let pairs = ours.iter().zip(by_rank);
            // The statistics are those of rank 0, so rank 0 evaluates.
            pairs.map(|(ours, theirs)| (ours[step] / theirs - 1.0).abs()).fold(0.0, f64::max)
        };
        theirs.iter().enumerate().map(largest).collect()
    })
}

fn agree(
    name: &str,
    recipe: fn(usize, Precision) -> Recipe,
    losses: fn(usize, StepEngine) -> Vec<f64>,
) {
    let _turn = in_turn();
    for world_size in [1, 2] {
        let [double, single] = differences(name, recipe, world_size, losses);
        for (step, difference) in double.iter().enumerate() {
            assert!(*difference < 1e-8, "{name}, {world_size} ranks, step {step}: {difference:e}");
        }
        for (step, difference) in single[..5].iter().enumerate() {
            assert!(*difference < 1e-4, "{name}, {world_size} ranks, step {step}: {difference:e}");
        }
    }
}

#[test]
fn the_closed_recipe_has_the_losses_of_its_published_formulas() {
    agree("nvidia-closed", nvidia_closed, losses);
}

#[test]
fn the_optimized_recipe_has_the_losses_of_its_published_formulas() {
    agree("optimized", optimized, losses);
}

#[test]
fn layers_freeze_as_in_pytorch() {
    agree("frozen", frozen, losses);
}

#[test]
fn layers_freeze_on_fused_kernels_too() {
    agree("frozen", frozen, fused_losses);
}

#[test]
fn fused_kernels_have_the_losses_of_the_closed_recipe() {
    agree("nvidia-closed", nvidia_closed, fused_losses);
}

#[test]
fn fused_kernels_have_the_losses_of_the_optimized_recipe() {
    agree("optimized", optimized, fused_losses);
}
