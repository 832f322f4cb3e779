//! Gradients that are accumulated over microbatches.

use super::*;
use crate::{
    recipe::{Microbatch, halved},
    train::error::TrainError,
};

/// The recipe with batch norm over two images, which a microbatch does not change.
fn ghost(world_size: usize, microbatch: Option<usize>) -> Recipe {
    let mut file = recipe(world_size).to_file();
    file.algorithms.ghost_batch_norm = Some(algorithms::GhostBatchNorm { ghost_batch_size: 2 });
    file.train.microbatch = microbatch.map(Microbatch::Images);
    Recipe::resolve(file, &recipe(world_size).run_context).unwrap()
}

/// Losses of four steps by rank, the weights afterwards, and how many of these are parameters.
fn trained(recipe: &Recipe) -> Vec<(Vec<f64>, Vec<Vec<f32>>, usize)> {
    let fraction = GLOBAL_BATCH / recipe.run_context.world_size;
    in_world(recipe, move |rank, mut engine| {
        refill(&engine);
        let step = |step| {
            let batch = batch(&engine, step, rank * fraction..(rank + 1) * fraction);
            f64::try_from(engine.step(&batch).unwrap()).unwrap()
        };
        let losses = (0..4).map(step).collect();
        (losses, weights(&engine), engine.model.weights().parameters().len())
    })
}

fn assert_near(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{what}: {a} {b}");
}

#[test]
fn accumulated_gradients_train_like_the_whole_batch() {
    let _turn = in_turn();
    for (world_size, microbatch) in [(1, 4), (1, 2), (2, 2)] {
        let whole = trained(&ghost(world_size, None));
        let parts = trained(&ghost(world_size, Some(microbatch)));
        let what = format!("{world_size} ranks, {microbatch} images");
        for ((losses, weights, _), (wanted_losses, wanted, _)) in parts.iter().zip(&whole) {
            losses.iter().zip(wanted_losses).for_each(|(a, b)| assert_near(*a, *b, &what));
            let numbers = weights.iter().flatten().zip(wanted.iter().flatten());
            numbers.for_each(|(a, b)| assert_near(f64::from(*a), f64::from(*b), &what));
        }
        // Running statistics are those of a rank's own images.
        let num_parameters = parts[0].2;
        let of_rank = |rank: usize| &parts[rank].1[..num_parameters];
        assert!(of_rank(0) == of_rank(world_size - 1), "{what}: ranks differ");
    }
}

#[test]
fn batch_norm_over_a_microbatch_is_another_network() {
    let _turn = in_turn();
    let mut parts = recipe(1);
    parts.train.microbatch = Some(Microbatch::Images(2));
    assert_ne!(trained(&recipe(1))[0].0, trained(&parts)[0].0);
}

#[test]
fn a_captured_step_accumulates_too() {
    let _turn = in_turn();
    let recipe = ghost(1, Some(2));
    let [plain, captured] = [CaptureMode::Off, CaptureMode::Host].map(|mode| {
        let mut engine = engine(&recipe, 0, 0);
        engine.mode = mode;
        assert!(engine.warm_up().unwrap().is_empty());
        assert_eq!(engine.captured.len(), usize::from(mode == CaptureMode::Host));
        refill(&engine);
        let images = batch(&engine, 0, 0..GLOBAL_BATCH);
        drop(engine.step(&images).unwrap());
        weights(&engine)
    });
    assert_eq!(plain, captured);
}

fn lacks_memory() -> TrainError {
    TrainError::Unavailable("CUDA out of memory. Tried to allocate 2.00 GiB".to_owned())
}

#[test]
fn ranks_halve_the_microbatch_together_until_it_fits_the_smallest_memory() {
    let _turn = in_turn();
    let mut recipe = recipe(2);
    recipe.train.microbatch = Some(Microbatch::Auto);
    let by_rank = in_world(&recipe, |rank, mut engine| {
        let mut tried = Vec::new();
        let said = engine.fit_microbatch_by(|engine| {
            tried.push(engine.recipe.microbatch());
            if rank == 1 && engine.recipe.microbatch() > 1 { Err(lacks_memory()) } else { Ok(()) }
        });
        (tried, engine.recipe.train.microbatch, said.unwrap().unwrap())
    });
    for (tried, settled, said) in by_rank {
        assert_eq!((tried, settled), (vec![4, 2, 1], Some(Microbatch::Images(1))));
        assert!(
            said.contains("4 images a rank are accumulated over 4 microbatches of 1"),
            "{said}"
        );
    }
}

#[test]
fn memory_for_less_than_an_image_is_an_error_on_all_ranks() {
    let _turn = in_turn();
    let mut recipe = recipe(2);
    recipe.train.microbatch = Some(Microbatch::Auto);
    let by_rank = in_world(&recipe, |rank, mut engine| {
        let pass = |_: &mut StepEngine| if rank == 1 { Err(lacks_memory()) } else { Ok(()) };
        engine.fit_microbatch_by(pass).unwrap_err().to_string()
    });
    assert!(by_rank[0].contains("another rank lacks memory"), "{by_rank:?}");
    assert!(by_rank[1].contains("out of memory"), "{by_rank:?}");
}

#[test]
fn where_memory_suffices_the_whole_batch_is_one_pass_and_warm_up_changes_nothing() {
    let _turn = in_turn();
    let mut recipe = recipe(1);
    recipe.train.microbatch = Some(Microbatch::Auto);
    let mut engine = engine(&recipe, 0, 0);
    let before = weights(&engine);
    assert!(engine.warm_up().unwrap().is_empty());
    assert_eq!(engine.recipe.train.microbatch, Some(Microbatch::Images(GLOBAL_BATCH)));
    assert_eq!(weights(&engine), before);
    assert_eq!(halved(GLOBAL_BATCH, GLOBAL_BATCH), Some(GLOBAL_BATCH / 2));
}
