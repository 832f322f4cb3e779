//! Batch norm's statistics of averaged weights, against torch's `swa_utils.update_bn`.

use serde_json::Value;

use super::*;
use crate::train::statistics::Statistics;

/// The first numbers of each statistic that three batches give the weights after a step of SWA. Training
/// goes on with its own.
fn retaken(rank: usize, mut engine: StepEngine) -> Vec<(String, Vec<f64>)> {
    refill(&engine);
    let share = GLOBAL_BATCH / engine.world.world_size;
    let mine = rank * share..(rank + 1) * share;
    engine.progress.step = 1;
    engine.algorithms.after_step(engine.progress).unwrap();
    engine.eval_weights.swap_in(engine.algorithms.eval_weights()).unwrap();
    let mut statistics = Statistics::of(&engine.model).unwrap();
    for step in 0..engine.num_statistics_steps() {
        let batch = batch(&engine, step, mine.clone());
        engine.add_statistics(&mut statistics, &batch).unwrap();
    }
    engine.set_statistics(&statistics).unwrap();

    let first = |tensor: &Tensor| Vec::<f64>::try_from(tensor.narrow(0, 0, 4)).unwrap();
    let statistics = |engine: &StepEngine| {
        let buffers = engine.model.weights().buffers().iter();
        buffers.map(|(name, tensor)| (name.clone(), first(tensor))).collect::<Vec<_>>()
    };
    let found = statistics(&engine);
    let average = engine.algorithms.eval_weights().unwrap().tensors();
    let network = engine.eval_weights.trained().tensors();
    assert!(average.iter().zip(&network).all(|(a, b)| a == b), "the average keeps them");
    engine.eval_weights.swap_out().unwrap();
    for (name, own) in statistics(&engine) {
        assert_eq!(own, [if name.ends_with("mean") { 0.0 } else { 1.0 }; 4], "{name}");
    }
    found
}

fn swa_recipe(world_size: usize) -> Recipe {
    let text = "[algorithms.swa]\nstart = \"0ba\"\ninterval = \"1ba\"\nupdate_bn = \"3ba\"";
    let mut file = toml::from_str::<RecipeFile>(text).unwrap();
    let base = recipe(world_size).to_file();
    file = RecipeFile { algorithms: file.algorithms, ..base };
    file.model.arch = Arch::Resnet18;
    file.model.custom = None;
    file.train.precision = Precision::Fp64;
    Recipe::resolve(file, &recipe(world_size).run_context).unwrap()
}

#[test]
fn retaken_statistics_equal_those_of_pytorch_on_all_ranks() {
    let _turn = in_turn();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/update_bn.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for world_size in [1, 2] {
        let case = &golden["by_world_size"][world_size.to_string()];
        for found in in_world(&swa_recipe(world_size), retaken) {
            assert_eq!(found.len(), case.as_object().unwrap().len());
            for (name, found) in found {
                for (i, found) in found.into_iter().enumerate() {
                    let expected = case[&name][i].as_f64().unwrap();
                    let apart = (found - expected).abs() / (1.0 + expected.abs());
                    assert!(apart < 1e-6, "{name} {i}: {found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn without_an_average_nothing_is_retaken() {
    let _turn = in_turn();
    let mut engine = engine(&swa_recipe(1), 0, 0);
    assert_eq!(engine.num_statistics_steps(), 0, "no weights are averaged yet");
    engine.progress.step = 1;
    engine.algorithms.after_step(engine.progress).unwrap();
    assert_eq!(engine.num_statistics_steps(), 3);
}
