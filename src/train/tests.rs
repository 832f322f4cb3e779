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
    libtorch,
    model::{Arch, Block, CustomConfig, Mode},
    optim::mean_loss,
    recipe::{Precision, Recipe, RecipeFile, RunContext},
};

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
    file.data.train.crop_size = IMAGE_SIZE;
    file.data.eval.crop_size = IMAGE_SIZE;
    file.train.batch_size = GLOBAL_BATCH;
    file.optimizer.lr = 0.1;
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

#[test]
fn warm_up_leaves_every_number_as_it_was() {
    let _turn = in_turn();
    let mut warmed = engine(&recipe(1), 0, 0);
    let any = Tensor::from(0.0);
    let random = |what: &Tensor| Vec::<u8>::try_from(libtorch::rng_state(what).unwrap()).unwrap();
    let (before, random_before) = (weights(&warmed), random(&any));
    assert_eq!(warmed.warm_up().unwrap(), None, "a CPU needs no graphs");
    assert_eq!(weights(&warmed), before);
    assert_eq!(random(&any), random_before);
    assert!(warmed.optimizer.state().unwrap().is_empty(), "no step has been made");
    assert_eq!(warmed.progress.step, 0);

    // Warm-up leaves no trace: the losses are the same without it.
    let mut cold = engine(&recipe(1), 0, 0);
    for step in 0..4 {
        let losses = [&mut warmed, &mut cold].map(|engine| {
            let batch = batch(engine, step, 0..GLOBAL_BATCH);
            f64::try_from(engine.step(&batch).unwrap()).unwrap()
        });
        assert_eq!(losses[0].to_bits(), losses[1].to_bits(), "step {step}");
    }
    assert_ne!(weights(&warmed), before, "the steps did something");
}

#[test]
fn ranks_stay_bit_identical() {
    let _turn = in_turn();
    for world_size in [2, 4] {
        let fraction = GLOBAL_BATCH / world_size;
        let by_rank = in_world(&recipe(world_size), |rank, mut engine| {
            refill(&engine);
            engine.warm_up().unwrap();
            for step in 0..5 {
                let batch = batch(&engine, step, rank * fraction..(rank + 1) * fraction);
                drop(engine.step(&batch).unwrap());
            }
            numbers(engine.model.weights().parameters().iter().map(|(_, tensor)| tensor))
        });
        for (rank, weights) in by_rank.iter().enumerate().skip(1) {
            assert!(*weights == by_rank[0], "rank {rank} of {world_size} differs from rank 0");
        }
    }
}

/// A step with batch norm frozen, so that the statistics of a rank do not matter.
fn frozen_step(engine: &mut StepEngine, device_batch: &DeviceBatch) {
    let batch = engine.uploader.batch(device_batch);
    engine.ddp.before_forward().unwrap();
    let logits = engine.model.forward(&batch.images, Mode::Eval);
    let loss = mean_loss(engine.recipe.loss.name, &logits, &batch.targets);
    engine.ddp.backward(&loss).unwrap();
    engine.optimizer.set_lr(0.05);
    engine.optimizer.step().unwrap();
}

#[test]
fn many_small_shares_train_as_one_large_batch() {
    let _turn = in_turn();
    let train = |world_size: usize| {
        let fraction = GLOBAL_BATCH / world_size;
        let mut by_rank = in_world(&recipe(world_size), |rank, mut engine| {
            refill(&engine);
            for step in 0..4 {
                let batch = batch(&engine, step, rank * fraction..(rank + 1) * fraction);
                frozen_step(&mut engine, &batch);
            }
            weights(&engine)
        });
        by_rank.remove(0)
    };
    let alone = train(1);
    for world_size in [2, 4] {
        let shared = train(world_size);
        let pairs = alone.iter().flatten().zip(shared.iter().flatten());
        let largest = pairs.map(|(a, b)| (a - b).abs() / (1.0 + a.abs())).fold(0.0, f32::max);
        assert!(largest < 1e-5, "{world_size} ranks differ by {largest}");
    }
}

#[test]
fn images_are_normalised_on_the_device() {
    let _turn = in_turn();
    let engine = engine(&recipe(1), 0, 0);
    let device_batch = engine.uploader.upload_parts(&[255; 2 * 4 * 4 * 3], &[1, 2], 4).unwrap();
    let batch = engine.uploader.batch(&device_batch);
    assert_eq!(Vec::<i64>::try_from(&batch.labels).unwrap(), [1, 2]);
    assert_eq!(batch.images.size(), [2, 3, 4, 4]);
    assert!(libtorch::is_channels_last(&batch.images).unwrap());
    for (channel, (mean, std)) in
        [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)].iter().enumerate()
    {
        let wanted: f64 = (1.0 - mean) / std;
        let found =
            f64::try_from(batch.images.select(1, channel as i64).mean(Kind::Float)).unwrap();
        assert!((found - wanted).abs() < 1e-5, "channel {channel}: {found} {wanted}");
    }
}

#[test]
fn bf16_steps_stay_near_fp32_and_keep_weights_in_fp32() {
    let _turn = in_turn();
    let losses = [Precision::Fp32, Precision::AmpBf16].map(|precision| {
        let mut recipe = recipe(1);
        recipe.train.precision = precision;
        let mut engine = engine(&recipe, 0, 0);
        refill(&engine);
        let step = |step| {
            let batch = batch(&engine, step, 0..GLOBAL_BATCH);
            f64::try_from(engine.step(&batch).unwrap()).unwrap()
        };
        let losses: Vec<f64> = (0..4).map(step).collect();
        assert!(engine.model.weights().all().all(|(_, tensor)| tensor.kind() == Kind::Float));
        losses
    });
    for (step, (full, half)) in losses[0].iter().zip(&losses[1]).enumerate() {
        assert_ne!(full.to_bits(), half.to_bits(), "step {step}: autocast changed nothing");
        assert!((full - half).abs() < 0.03 * full, "step {step}: {full} {half}");
    }
    let number = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
    assert_eq!(number.matmul(&number).kind(), Kind::Float, "autocast ends with the forward pass");
}

#[test]
fn the_average_is_judged_and_the_trained_weights_come_back() {
    let _turn = in_turn();
    let mut recipe = recipe(1);
    let ema = algorithms::Ema { update_interval: "1ba".parse().unwrap(), ..Default::default() };
    recipe.algorithms.ema = Some(ema);
    let mut engine = engine(&recipe, 0, 0);
    engine.warm_up().unwrap();
    let start = weights(&engine);
    let count_correct = |engine: &mut StepEngine| {
        engine.eval_weights.swap_in(engine.algorithms.eval_weights()).unwrap();
        let eval_weights = weights(engine);
        engine.eval_weights.swap_out().unwrap();
        eval_weights
    };
    assert_eq!(count_correct(&mut engine), start, "warm-up left nothing in the average");
    let batches: Vec<_> = (0..2).map(|step| batch(&engine, step, 0..GLOBAL_BATCH)).collect();
    let mut by_step = Vec::new();
    for batch in batches {
        drop(engine.step(&batch).unwrap());
        by_step.push(weights(&engine));
    }
    let eval_weights = count_correct(&mut engine);
    assert_eq!(weights(&engine), by_step[1], "training goes on from the trained weights");
    // The first update copies; the second keeps 2^(-1/100) of it.
    let fraction = 1.0 - algorithms::ema_smoothing(1, 100) as f32;
    let flat = |of: &[Vec<f32>]| of.iter().flatten().copied().collect::<Vec<_>>();
    let pairs = flat(&by_step[0]).into_iter().zip(flat(&by_step[1]));
    for ((first, second), found) in pairs.zip(flat(&eval_weights)) {
        assert!(
            (first + fraction * (second - first) - found).abs() < 1e-6,
            "{first} {second} {found}"
        );
    }
}

#[test]
fn batches_shrink_to_the_side_of_their_epoch() {
    let _turn = in_turn();
    let mut recipe = recipe(1).to_file();
    recipe.algorithms.progressive_resizing = Some(algorithms::ProgressiveResizing::default());
    let run_context = RunContext { world_size: 1, num_classes: 4, num_train: 64, num_eval: 8 };
    let recipe = Recipe::resolve(recipe, &run_context).unwrap();
    assert_eq!(
        (recipe.image_sizes.as_slice(), recipe.crop_sizes.as_slice()),
        ([8, 8, 8, 16].as_slice(), [IMAGE_SIZE; 4].as_slice())
    );
    let mut engine = engine(&recipe, 0, 0);
    engine.warm_up().unwrap();
    for (epoch, image_size) in recipe.image_sizes.iter().enumerate() {
        engine.progress.epoch = epoch;
        let batch = engine.uploader.batch(&batch(&engine, 0, 0..GLOBAL_BATCH));
        let shown = engine.algorithms.before_forward(engine.progress, batch, &|_| unreachable!());
        let shown = shown.unwrap();
        assert_eq!(
            shown.images.size(),
            [GLOBAL_BATCH as i64, 3, *image_size as i64, *image_size as i64]
        );
    }
}

#[test]
fn every_method_trains_alone_and_with_the_others() {
    let _turn = in_turn();
    let tables = [
        "[algorithms.channels_last]",
        "[algorithms.blurpool]\nmin_channels = 8",
        "[algorithms.label_smoothing]",
        "[algorithms.fixres]\ntrain_crop_size = 16\neval_resize_size = 24\neval_crop_size = 20",
        "[algorithms.progressive_resizing]",
        "[algorithms.ema]\nupdate_interval = \"1ba\"",
        "[algorithms.ghost_batch_norm]\nghost_batch_size = 2",
        "[algorithms.stochastic_depth]\ndrop_rate = 0.5",
        "[algorithms.selective_backprop]\nstart = 0.0",
        "[algorithms.colout]",
        "[algorithms.cutout]",
        "[algorithms.mixup]",
        "[algorithms.cutmix]",
        "[algorithms.sam]",
        "[algorithms.gradient_clipping]",
    ];
    // These exclude one of the methods above.
    let others = [
        "[algorithms.resolution]\nmin_res = 16\nmax_res = 32\nincrement = 16",
        "[algorithms.swa]\nstart = \"0ba\"\ninterval = \"1ba\"",
        "[algorithms.stochastic_depth]\nmethod = \"block\"\ndrop_rate = 0.9",
        "[algorithms.gradient_clipping]\nclip = \"value\"",
    ];
    let together = tables.join("\n");
    for text in tables.iter().chain(&others).chain([&together.as_str()]) {
        let on: RecipeFile = toml::from_str(text).unwrap();
        let file = RecipeFile { algorithms: on.algorithms, ..recipe(1).to_file() };
        let recipe = Recipe::resolve(file, &recipe(1).run_context).unwrap();
        let mut engine = engine(&recipe, 0, 0);
        engine.warm_up().unwrap();
        let before = weights(&engine);
        for step in 0..2 {
            let batch = batch(&engine, step, 0..GLOBAL_BATCH);
            let loss = f64::try_from(engine.step(&batch).unwrap()).unwrap();
            assert!(loss.is_finite(), "{text}: {loss}");
        }
        assert_ne!(weights(&engine), before, "{text}");
    }
}

/// Losses of steps at the image sizes of both epochs, and the weights afterwards.
fn trained(engine: &mut StepEngine) -> (Vec<u64>, Vec<Vec<f32>>) {
    refill(engine);
    let mut losses = Vec::new();
    for (epoch, step) in [(0, 0), (0, 1), (3, 2), (3, 3), (0, 4)] {
        engine.progress.epoch = epoch;
        let batch = batch(engine, step, 0..GLOBAL_BATCH);
        losses.push(f64::try_from(engine.step(&batch).unwrap()).unwrap().to_bits());
    }
    (losses, weights(engine))
}

#[test]
fn a_recorded_step_trains_as_the_step_itself() {
    let _turn = in_turn();
    let texts = [
        "[algorithms.progressive_resizing]\n[algorithms.ema]\nupdate_interval = \"1ba\"",
        "[optimizer]\nname = \"decoupled_sgdw\"\n[algorithms.progressive_resizing]",
        "[optimizer]\nname = \"lars\"\n[algorithms.progressive_resizing]",
        "[optimizer]\nname = \"lamb\"\n[algorithms.progressive_resizing]\n[algorithms.gradient_clipping]",
    ];
    for text in texts {
        let on: RecipeFile = toml::from_str(text).unwrap();
        let file = RecipeFile {
            algorithms: on.algorithms,
            optimizer: on.optimizer,
            ..recipe(1).to_file()
        };
        let recipe = Recipe::resolve(file, &recipe(1).run_context).unwrap();
        let mut plain = engine(&recipe, 0, 0);
        let mut capturing = engine(&recipe, 0, 0);
        capturing.mode = CaptureMode::Host;
        for engine in [&mut plain, &mut capturing] {
            assert_eq!(engine.warm_up().unwrap(), None, "{text}");
        }
        let image_sizes: Vec<usize> =
            capturing.captured.iter().map(CapturedStep::image_size).collect();
        assert_eq!(
            image_sizes,
            [IMAGE_SIZE, IMAGE_SIZE / 2],
            "one for each image size, the largest first"
        );
        assert!(plain.captured.is_empty());
        assert_eq!(trained(&mut capturing), trained(&mut plain), "{text}");
    }
}

#[test]
fn ranks_record_together_and_stay_bit_identical() {
    let _turn = in_turn();
    let fraction = GLOBAL_BATCH / 2;
    let by_rank = in_world(&recipe(2), |rank, mut engine| {
        refill(&engine);
        engine.mode = CaptureMode::Host;
        assert_eq!(engine.warm_up().unwrap(), None);
        assert_eq!(engine.captured.len(), 1);
        for step in 0..3 {
            let batch = batch(&engine, step, rank * fraction..(rank + 1) * fraction);
            drop(engine.step(&batch).unwrap());
        }
        numbers(engine.model.weights().parameters().iter().map(|(_, tensor)| tensor))
    });
    assert_eq!(by_rank[0], by_rank[1]);
}

#[test]
fn a_batch_of_another_size_is_not_put_into_the_recording() {
    let _turn = in_turn();
    let mut engine = engine(&recipe(1), 0, 0);
    engine.mode = CaptureMode::Host;
    engine.warm_up().unwrap();
    let whole = batch(&engine, 0, 0..GLOBAL_BATCH);
    let part = batch(&engine, 0, 0..GLOBAL_BATCH - 1);
    assert_eq!((engine.captured(&whole), engine.captured(&part)), (Some(0), None));
    assert!(f64::try_from(engine.step(&part).unwrap()).unwrap().is_finite());
}

#[test]
fn where_one_rank_cannot_capture_none_does_and_training_goes_on() {
    let _turn = in_turn();
    let fraction = GLOBAL_BATCH / 2;
    let train = |recorders: [CaptureMode; 2]| {
        in_world(&recipe(2), move |rank, mut engine| {
            refill(&engine);
            engine.mode = recorders[rank];
            let reason = engine.warm_up().unwrap();
            assert!(engine.captured.is_empty());
            for step in 0..3 {
                let batch = batch(&engine, step, rank * fraction..(rank + 1) * fraction);
                drop(engine.step(&batch).unwrap());
            }
            (reason, weights(&engine))
        })
    };
    // There is no GPU 7 here.
    let failed = train([CaptureMode::Host, CaptureMode::Gpu(7)]);
    let plain = train([CaptureMode::Off; 2]);
    for (rank, ((reason, weights), (_, wanted))) in failed.iter().zip(&plain).enumerate() {
        let reason = reason.as_ref().expect("both say so");
        assert!(reason.contains("capturing the step failed"), "rank {rank}: {reason}");
        assert!(weights == wanted, "rank {rank}");
    }
}

#[test]
fn where_the_reducer_cannot_be_captured_gradients_are_exchanged_around_it() {
    let _turn = in_turn();
    let fraction = GLOBAL_BATCH / 2;
    let mut recipe = recipe(2);
    // Rank 0 broadcasts its batch norm statistics before each step, outside the captured part.
    recipe.train.ddp.broadcast_buffers = true;
    let train = |mode| {
        in_world(&recipe, move |rank, mut engine| {
            refill(&engine);
            engine.mode = mode;
            let said = engine.warm_up().unwrap();
            let is_reduced = engine.ddp.is_reduced();
            for step in 0..3 {
                let batch = batch(&engine, step, rank * fraction..(rank + 1) * fraction);
                drop(engine.step(&batch).unwrap());
            }
            (said, is_reduced, engine.captured.len(), weights(&engine))
        })
    };
    let around = train(CaptureMode::HostWithoutReducer);
    let plain = train(CaptureMode::Off);
    for ((said, is_reduced, num_captured, weights), (.., wanted)) in around.iter().zip(&plain) {
        let said = said.as_ref().expect("it says so");
        assert!(said.contains("between two CUDA graphs") && said.contains("a reducer"), "{said}");
        assert_eq!((*is_reduced, *num_captured), (false, 1));
        assert!(weights == wanted, "the mean is the same bit for bit");
    }
}

#[test]
fn gradients_of_a_recording_that_failed_are_forgotten() {
    let _turn = in_turn();
    let mut engine = engine(&recipe(1), 0, 0);
    let batch = batch(&engine, 0, 0..GLOBAL_BATCH);
    let batch = engine.uploader.batch(&batch);
    engine.loss(&batch).unwrap().backward();
    // There is no GPU 7 here.
    engine.mode = CaptureMode::Gpu(7);
    assert!(
        engine.capture_steps().unwrap().expect("it fails").contains("capturing the step failed")
    );
    let mut parameters = engine.model.weights().parameters().iter();
    assert!(parameters.all(|(_, tensor)| !tensor.grad().defined()));
}

#[test]
fn a_method_that_draws_anew_keeps_steps_from_being_recorded() {
    let _turn = in_turn();
    let mut recipe = recipe(1);
    recipe.algorithms.mixup = Some(algorithms::MixUp::default());
    let mut engine = engine(&recipe, 0, 0);
    engine.mode = CaptureMode::Host;
    let reason = engine.warm_up().unwrap().expect("mixup draws");
    assert!(reason.contains("algorithms.mixup"), "{reason}");
    assert!(engine.captured.is_empty());
}

#[test]
fn a_rank_alone_trains_the_same_through_the_reducer() {
    let _turn = in_turn();
    let train = |in_world_of_one| {
        let mut recipe = recipe(1);
        recipe.train.ddp.in_world_of_one = in_world_of_one;
        let mut by_rank = in_world(&recipe, |_, mut engine| {
            assert_eq!(engine.ddp.is_reduced(), in_world_of_one);
            engine.recipe.image_sizes = vec![IMAGE_SIZE; 4];
            trained(&mut engine)
        });
        by_rank.remove(0)
    };
    assert_eq!(train(true), train(false));
}
