//! The step: ranks train alike, warm-up leaves no trace, and half precision stays near fp32.

use super::*;

#[test]
fn warm_up_leaves_every_number_as_it_was() {
    let _turn = in_turn();
    let mut warmed = engine(&recipe(1), 0, 0);
    let any = Tensor::from(0.0);
    let random = |what: &Tensor| Vec::<u8>::try_from(libtorch::rng_state(what).unwrap()).unwrap();
    let (before, random_before) = (weights(&warmed), random(&any));
    assert!(warmed.warm_up().unwrap().is_empty(), "a CPU needs no graphs");
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
    let batch = engine.train_batch(device_batch);
    engine.ddp.before_forward().unwrap();
    let logits = engine.model.forward(&batch.images, Mode::Eval);
    let loss = mean_loss(engine.recipe.loss.name, &logits, &batch.targets);
    engine.ddp.backward(&loss).unwrap();
    engine.optimizer.set_lr(0.05);
    engine.optimizer.step().unwrap();
}

#[test]
fn many_small_batches_train_like_one_large_batch() {
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
fn images_are_normalized_on_the_device() {
    let _turn = in_turn();
    let engine = engine(&recipe(1), 0, 0);
    let device_batch = engine.uploader.upload_parts(&[255; 2 * 4 * 4 * 3], &[1, 2], 4).unwrap();
    let batch = engine.uploader.batch(&device_batch, 4, 0.0);
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
fn fused_bf16_steps_stay_near_unfused_ones() {
    let _turn = in_turn();
    let mut recipe = recipe(1);
    recipe.train.precision = Precision::AmpBf16;
    recipe.eval.precision = Precision::AmpBf16;
    let [mut plain, mut fused] = [(); 2].map(|()| engine(&recipe, 0, 0));
    fused.emulate_fused();
    let losses = [&mut plain, &mut fused].map(|engine| {
        refill(engine);
        let step = |step| {
            let batch = batch(engine, step, 0..GLOBAL_BATCH);
            f64::try_from(engine.step(&batch).unwrap()).unwrap()
        };
        let losses: Vec<f64> = (0..4).map(step).collect();
        assert!(engine.model.weights().all().all(|(_, tensor)| tensor.kind() == Kind::Float));
        engine.evaluate(&batch(engine, 0, 0..GLOBAL_BATCH)).unwrap();
        losses
    });
    for (step, (plain, fused)) in losses[0].iter().zip(&losses[1]).enumerate() {
        assert!((plain - fused).abs() < 0.03 * plain, "step {step}: {plain} {fused}");
    }
}

#[test]
fn kernels_that_compute_something_else_are_not_used() {
    let _turn = in_turn();
    for precision in [Precision::Fp32, Precision::AmpBf16] {
        let mut recipe = recipe(1);
        recipe.train.precision = precision;
        let mut engine = engine(&recipe, 0, 0);
        for (right, wrong) in [
            ("-scale * sum / rows - slope * mean", "-scale * sum / rows"),
            ("terms[c] = scale;", "terms[c] = A(0.7) * scale;"),
        ] {
            let text = TEXT.concat().replace(right, wrong);
            let failed = engine.fuse_by(|storage| Ok(Kernels::emulated_from(storage, &text)));
            let reason = failed.unwrap_err();
            assert!(reason.contains("failed their trial: the gradients"), "{wrong}: {reason}");
        }
        engine.emulate_fused();
        assert!(engine.forward.is_fused());
    }
}
