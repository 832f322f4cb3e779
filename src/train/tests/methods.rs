//! The methods in a training step.

use super::*;

#[test]
fn evaluation_uses_the_average_and_restores_the_trained_weights() {
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
fn batches_shrink_to_the_image_size_of_their_epoch() {
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
        let shown = engine.train_batch(&batch(&engine, 0, 0..GLOBAL_BATCH));
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
        "[algorithms.squeeze_excite]\nmin_channels = 8",
        "[algorithms.alternating_flip]",
        "[algorithms.randaugment]",
        "[algorithms.ghost_batch_norm]\nghost_batch_size = 2",
        "[algorithms.stochastic_depth]\ndrop_rate = 0.5",
        "[algorithms.selective_backprop]\nstart = 0.0",
        "[algorithms.colout]",
        "[algorithms.cutout]",
        "[algorithms.mixup]",
        "[algorithms.cutmix]",
        "[algorithms.sam]",
        "[algorithms.gradient_clipping]",
        "[algorithms.layer_freezing]",
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
