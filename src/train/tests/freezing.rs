//! Layers that are frozen one after another.

use super::*;
use crate::tensor_name::layer_of;

/// 13 layers, of which the four epochs freeze 0, 2, 4 and 7.
fn freezing(world_size: usize) -> Recipe {
    let mut file = recipe(world_size).to_file();
    file.algorithms.layer_freezing = Some(algorithms::LayerFreezing { start: 0.0, level: 0.8 });
    let run_context = recipe(world_size).run_context;
    Recipe::resolve(file, &run_context).unwrap()
}

#[test]
fn an_epoch_trains_all_layers_but_the_first_ones() {
    let _turn = in_turn();
    for optimizer in ["sgd", "lars", "decoupled_adamw"] {
        let text = format!("[optimizer]\nname = \"{optimizer}\"\nlr = 0.1");
        let on: RecipeFile = toml::from_str(&text).unwrap();
        let file = RecipeFile { optimizer: on.optimizer, ..freezing(1).to_file() };
        let recipe = Recipe::resolve(file, &freezing(1).run_context).unwrap();
        let mut engine = engine(&recipe, 0, 0);
        engine.warm_up().unwrap();
        for (epoch, num_frozen) in [(0, 0), (1, 2), (3, 7), (2, 4)] {
            engine.enter_epoch(epoch).unwrap();
            let before = weights(&engine);
            drop(engine.step(&batch(&engine, epoch, 0..GLOBAL_BATCH)).unwrap());
            let mut layers = Vec::new();
            let after = weights(&engine);
            for (((name, _), before), after) in engine.model.weights().all().zip(before).zip(after)
            {
                if !layers.contains(&layer_of(name)) {
                    layers.push(layer_of(name));
                }
                let number = layers.iter().position(|layer| *layer == layer_of(name)).unwrap();
                let is_trained = number >= num_frozen || name.contains("running");
                assert_eq!(before != after, is_trained, "{optimizer}, epoch {epoch}: {name}");
            }
            assert_eq!(layers.len(), 13);
        }
    }
}

#[test]
fn ranks_keep_their_own_statistics_when_layers_freeze() {
    let _turn = in_turn();
    let fraction = GLOBAL_BATCH / 2;
    let by_rank = in_world(&freezing(2), |rank, mut engine| {
        refill(&engine);
        engine.warm_up().unwrap();
        drop(engine.step(&batch(&engine, 0, rank * fraction..(rank + 1) * fraction)).unwrap());
        let statistics = |engine: &StepEngine| {
            numbers(engine.model.weights().buffers().iter().map(|(_, tensor)| tensor))
        };
        let before = statistics(&engine);
        engine.enter_epoch(3).unwrap();
        assert!(engine.ddp.is_reduced());
        assert_eq!(statistics(&engine), before, "rank {rank}");
        before
    });
    assert_ne!(by_rank[0], by_rank[1], "they saw other images");
}

#[test]
fn each_number_of_frozen_layers_is_captured_without_the_reducer() {
    let _turn = in_turn();
    let fraction = GLOBAL_BATCH / 2;
    let train = |mode| {
        in_world(&freezing(2), move |rank, mut engine| {
            refill(&engine);
            engine.mode = mode;
            let said = engine.warm_up().unwrap().pop();
            let num_captured = engine.captured.len();
            for step in 0..8 {
                engine.enter_epoch(step / 2).unwrap();
                let batch = batch(&engine, step, rank * fraction..(rank + 1) * fraction);
                drop(engine.step(&batch).unwrap());
            }
            let parameters = engine.model.weights().parameters().iter();
            (said, num_captured, numbers(parameters.map(|(_, tensor)| tensor)))
        })
    };
    let captured = train(CaptureMode::Host);
    let plain = train(CaptureMode::Off);
    for ((said, num_captured, weights), (.., wanted)) in captured.iter().zip(&plain) {
        let said = said.as_ref().expect("it says so");
        assert!(said.contains("layer_freezing"), "{said}");
        assert_eq!(*num_captured, 4);
        assert!(weights == wanted, "the same bit for bit");
    }
    assert_eq!(captured[0].2, captured[1].2, "ranks agree");
}
