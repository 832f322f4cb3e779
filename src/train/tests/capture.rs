//! Captured steps.

use super::*;

/// Losses of steps at the image sizes of both epochs, and the weights afterwards.
fn trained(engine: &mut StepEngine) -> (Vec<u64>, Vec<Vec<f32>>) {
    refill(engine);
    let mut losses = Vec::new();
    for (epoch, step) in [(0, 0), (0, 1), (3, 2), (3, 3), (0, 4)] {
        engine.enter_epoch(epoch).unwrap();
        let batch = batch(engine, step, 0..GLOBAL_BATCH);
        losses.push(f64::try_from(engine.step(&batch).unwrap()).unwrap().to_bits());
    }
    (losses, weights(engine))
}

#[test]
fn a_captured_step_trains_like_the_step_itself() {
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
            assert!(engine.warm_up().unwrap().is_empty(), "{text}");
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

/// Values of the step that change after the second epoch, and those that the first and the last epochs
/// have throughout.
const BY_EPOCH: [[&str; 3]; 3] = [
    [
        "[{until = '2ep', value = 0.9}, {value = 0.5}]",
        "[{until = '2ep', value = 0.2}, {value = 0.1}]",
        "[{until = '2ep', value = 0.3}, {value = 0.0}]",
    ],
    ["0.9", "0.2", "0.3"],
    ["0.5", "0.1", "0.0"],
];

fn with_values(optimizer: &str, [momentum, decay, smoothing]: [&str; 3]) -> Recipe {
    let text = format!(
        "[optimizer]\nname = \"{optimizer}\"\nlr = 0.1\nno_decay = [\"bn\"]\nmomentum = {momentum}\n\
         weight_decay = {decay}\n[algorithms.label_smoothing]\nsmoothing = {smoothing}"
    );
    let on: RecipeFile = toml::from_str(&text).unwrap();
    let file =
        RecipeFile { algorithms: on.algorithms, optimizer: on.optimizer, ..recipe(1).to_file() };
    Recipe::resolve(file, &recipe(1).run_context).unwrap()
}

#[test]
fn steps_take_the_values_of_their_epoch_and_each_combination_is_captured() {
    let _turn = in_turn();
    for optimizer in ["sgd", "decoupled_sgdw", "lars"] {
        let [changing, early, late] = BY_EPOCH.map(|values| with_values(optimizer, values));
        let mut plain = engine(&changing, 0, 0);
        let mut capturing = engine(&changing, 0, 0);
        capturing.mode = CaptureMode::Host;
        for engine in [&mut plain, &mut capturing] {
            assert!(engine.warm_up().unwrap().is_empty(), "{optimizer}");
        }
        assert_eq!(capturing.captured.len(), 2, "{optimizer}");
        assert_eq!(trained(&mut capturing), trained(&mut plain), "{optimizer}");

        // Two recipes, the second of which goes on where the first one stops, train the same.
        let [mut whole, mut first, mut rest] = [&changing, &early, &late].map(|r| engine(r, 0, 0));
        refill(&whole);
        refill(&first);
        for step in 0..4 {
            let images = batch(&whole, step, 0..GLOBAL_BATCH);
            if step == 2 {
                whole.progress.epoch = 2;
                rest.progress = whole.progress;
                rest.model.weights().restore(&first.model.weights().snapshot());
                rest.optimizer.restore(&first.optimizer.snapshot().unwrap()).unwrap();
            }
            drop(whole.step(&images).unwrap());
            drop(if step < 2 { &mut first } else { &mut rest }.step(&images).unwrap());
        }
        assert_eq!(weights(&whole), weights(&rest), "{optimizer}");
    }
}

#[test]
fn ranks_capture_together_and_stay_bit_identical() {
    let _turn = in_turn();
    let fraction = GLOBAL_BATCH / 2;
    let by_rank = in_world(&recipe(2), |rank, mut engine| {
        refill(&engine);
        engine.mode = CaptureMode::Host;
        assert!(engine.warm_up().unwrap().is_empty());
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
fn a_batch_of_another_size_is_not_replayed() {
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
fn if_one_rank_cannot_capture_none_does_and_training_goes_on() {
    let _turn = in_turn();
    let fraction = GLOBAL_BATCH / 2;
    let train = |recorders: [CaptureMode; 2]| {
        in_world(&recipe(2), move |rank, mut engine| {
            refill(&engine);
            engine.mode = recorders[rank];
            let reason = engine.warm_up().unwrap().into_iter().next();
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
fn without_the_reducer_gradients_are_reduced_between_two_graphs() {
    let _turn = in_turn();
    let fraction = GLOBAL_BATCH / 2;
    let mut recipe = recipe(2);
    // Rank 0 broadcasts its batch norm statistics before each step, outside the captured part.
    recipe.train.ddp.broadcast_buffers = true;
    let train = |mode| {
        in_world(&recipe, move |rank, mut engine| {
            refill(&engine);
            engine.mode = mode;
            let said = engine.warm_up().unwrap().pop();
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
fn gradients_of_a_failed_capture_are_dropped() {
    let _turn = in_turn();
    let mut engine = engine(&recipe(1), 0, 0);
    let batch = batch(&engine, 0, 0..GLOBAL_BATCH);
    let batch = engine.train_batch(&batch);
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
fn a_method_that_changes_every_step_prevents_capture() {
    let _turn = in_turn();
    let mut recipe = recipe(1);
    recipe.algorithms.mixup = Some(algorithms::MixUp::default());
    let mut engine = engine(&recipe, 0, 0);
    engine.mode = CaptureMode::Host;
    let reason = engine.warm_up().unwrap().pop().expect("mixup draws");
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

#[test]
fn captured_evaluations_count_what_the_network_gets_right() {
    let _turn = in_turn();
    let mut recipe = recipe(1);
    recipe.eval_batch_per_rank = 5; // of 8 images, so that the last batch is smaller
    let mut engine = engine(&recipe, 0, 0);
    engine.mode = CaptureMode::Host;
    assert!(engine.warm_up().unwrap().is_empty());
    assert_eq!(engine.captured_evaluations.len(), 2, "one for each size of batch");
    refill(&engine);
    let _ = engine.num_correct.zero_();
    for samples in [0..5, 5..8] {
        engine.evaluate(&batch(&engine, 0, samples)).unwrap();
    }
    let images = engine.train_batch(&batch(&engine, 0, 0..GLOBAL_BATCH));
    let logits = engine.model.forward(&images.images, Mode::Eval);
    let expected = logits.argmax(-1, false).eq_tensor(&images.labels).sum(Kind::Int64);
    assert_eq!(engine.num_correct, expected);
}
