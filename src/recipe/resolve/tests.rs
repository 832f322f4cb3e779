//! What a recipe becomes, and which are wrong.

use super::*;
use crate::{
    algorithms::BlurPool,
    optim::ScheduleName,
    recipe::{built_in_names, find, load},
};

fn run_context() -> RunContext {
    RunContext { world_size: 8, num_classes: 1000, num_train: 1_281_167, num_eval: 50_000 }
}

fn resolved(change: impl FnOnce(&mut RecipeFile)) -> Recipe {
    let mut file = RecipeFile::default();
    change(&mut file);
    Recipe::resolve(file, &run_context()).unwrap()
}

#[test]
fn imagenet_on_eight_ranks_has_625_steps_an_epoch() {
    let recipe = resolved(|_| ());
    assert_eq!(recipe.run_length.steps_per_epoch, 625);
    assert_eq!((recipe.batch_per_rank, recipe.eval_batch_per_rank), (256, 256));
}

#[test]
fn lengths_turn_into_whole_epochs() {
    for (length, ratio, epochs) in [
        (Time::Epochs(90.0), 0.32, 28),
        (Time::Epochs(1.9), 5.0, 9),
        (Time::Steps(626), 1.0, 2),
        (Time::Steps(1250), 0.5, 1),
        (Time::Samples(625 * 2048), 1.0, 1),
        (Time::Samples(625 * 2048 + 1), 1.0, 2),
    ] {
        let recipe = resolved(|file| {
            file.run.max_duration = length;
            file.run.scale_schedule_ratio = ratio;
            file.scheduler.t_warmup = Time::Fraction(0.1);
        });
        assert_eq!(recipe.run_length.num_epochs, epochs, "{length} x {ratio}");
        assert_eq!(recipe.image_sizes.len(), epochs);
    }
}

#[test]
fn the_warmup_is_scaled_only_when_asked_and_never_twice() {
    for (warmup, asked, steps) in [
        (Time::Epochs(8.0), false, 5000),
        (Time::Epochs(8.0), true, 2500),
        (Time::Steps(101), true, 50),
        (Time::Fraction(0.1), true, 2812),
    ] {
        let recipe = resolved(|file| {
            file.run.scale_schedule_ratio = 0.5;
            file.run.scale_warmup = asked;
            file.scheduler.t_warmup = warmup;
        });
        assert_eq!(recipe.schedule.warmup_steps(), steps, "{warmup} {asked}");
    }
}

#[test]
fn milestones_are_scaled_with_the_run() {
    let recipe = resolved(|file| {
        file.run.scale_schedule_ratio = 0.5;
        file.scheduler.name = ScheduleName::Multistep;
        file.scheduler.milestones = Some(vec![Time::Epochs(60.0), Time::Fraction(0.9)]);
    });
    let rates = [29, 30, 40, 41].map(|epoch| recipe.schedule.lr(epoch * 625));
    for (rate, wanted) in rates.iter().zip([2.048, 0.2048, 0.2048, 0.02048]) {
        assert!((rate - wanted).abs() < 1e-12, "{rates:?}");
    }
}

#[test]
fn a_last_batch_that_is_not_full_counts_only_where_it_is_asked_for() {
    for (order, drop_last, steps) in [
        (Order::Keyed, true, 625),
        (Order::Keyed, false, 626),
        (Order::Torch, true, 625),
        (Order::Torch, false, 626),
    ] {
        let recipe = resolved(|file| {
            file.data.order = order;
            file.data.drop_last = drop_last;
        });
        assert_eq!(recipe.run_length.steps_per_epoch, steps, "{order:?} {drop_last}");
    }
}

#[test]
fn evaluations_are_multiples_from_the_start_on_and_the_last_epoch() {
    for (interval, start, epochs) in [
        (Time::Epochs(4.0), Time::Epochs(0.0), vec![4, 8, 10]),
        (Time::Epochs(4.0), Time::Epochs(5.0), vec![8, 10]),
        (Time::Epochs(99.0), Time::Epochs(0.0), vec![10]),
        (Time::Epochs(5.0), Time::Epochs(99.0), vec![10]),
        (Time::Fraction(0.25), Time::Epochs(0.0), vec![3, 6, 9, 10]),
        (Time::Steps(626), Time::Fraction(0.7), vec![8, 10]),
        (Time::Epochs(0.5), Time::Epochs(9.0), vec![9, 10]),
    ] {
        let recipe = resolved(|file| {
            file.run.max_duration = Time::Epochs(10.0);
            file.eval.interval = interval;
            file.eval.start = start;
        });
        assert_eq!(recipe.eval_epochs, epochs, "{interval} {start}");
    }
}

#[test]
fn an_offset_shifts_all_evaluations() {
    let recipe = resolved(|file| {
        file.run.max_duration = Time::Epochs(13.0);
        file.eval.interval = Time::Epochs(4.0);
        file.eval.offset = Time::Epochs(3.0);
    });
    assert_eq!(recipe.eval_epochs, [3, 7, 11, 13]);
}

#[test]
fn what_the_recipe_leaves_open_is_filled_in() {
    let file = resolved(|_| ()).to_file();
    assert_eq!((file.run.num_ranks, file.model.num_classes), (8, 1000));
    assert_eq!(file.eval.batch_size, file.train.batch_size);
    assert!(file.run.seed.is_some());
    assert_eq!(file.data.order_seed, file.run.seed);
    let seeds: Vec<u64> = (0..4).map(|_| resolved(|_| ()).seed).collect();
    assert!(seeds.iter().any(|seed| *seed != seeds[0]), "{seeds:?}");
}

#[test]
fn methods_change_the_network() {
    assert_eq!(resolved(|_| ()).spec.blur, None);
    let blurred = resolved(|file| file.algorithms.blurpool = Some(BlurPool::default()));
    assert!(blurred.spec.blur.is_some());
}

#[test]
fn the_published_recipes_can_be_captured() {
    for name in built_in_names() {
        let file = load(&find(name).unwrap(), &[]).unwrap();
        let obstacle = file.algorithms.graph_obstacle().or_else(|| file.optimizer.graph_obstacle());
        assert_eq!(obstacle, None, "{name}");
    }
}
