//! Values of a recipe that change by epoch: plans, graphs, and what is refused.

use mlperf_run::recipe::{Plan, Recipe};

use crate::recipe::{imagenet, loaded};

const BY_EPOCH: [&str; 9] = [
    "run.max_duration=10ep",
    "data.train.crop_size=[{until=\"5ep\", value=96}, {until=\"8ep\", from=96, to=160}, {value=208}]",
    "data.train.scale=[{until=\"8ep\", value=[0.1, 1]}, {value=[0.5, 1]}]",
    "optimizer.lr=[{until=\"2ep\", from=0, to=2}, {from=2, to=0}]",
    "optimizer.momentum=[{until=\"5ep\", value=0.9}, {value=0.95}]",
    "optimizer.weight_decay=[{until=\"9ep\", value=5e-4}, {value=0}]",
    "algorithms.label_smoothing.smoothing=[{until=\"0.9dur\", value=0.1}, {value=0}]",
    "scheduler.name=constant",
    "scheduler.t_warmup=0ep",
];

#[test]
fn values_by_epoch_are_planned_written_out_and_read_again() {
    let resolved = |file| Recipe::resolve(file, &imagenet(8)).unwrap();
    let recipe = resolved(loaded("[run]\nseed = 1", &BY_EPOCH).unwrap());
    let sizes = [[96; 5].as_slice(), &[96, 128, 160], &[208; 2]].concat();
    assert_eq!((&recipe.image_sizes, &recipe.crop_sizes), (&sizes, &sizes));
    let plan = Plan::of(&recipe);
    assert_eq!(plan.warmup_steps, 1250);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(recipe.epoch_values[7].transform.scale[0], 0.1);
    close(recipe.epoch_values[8].transform.scale[0], 0.5);
    close(plan.rows[0].lr_first, 0.0);
    close(plan.rows[2].lr_first, 2.0);
    close(plan.rows[6].lr_first, 1.0);
    close(recipe.end_lr(), 0.0);
    let text = plan.to_string();
    let row = |epoch: &str| {
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.into_iter().find(|cells| cells.first() == Some(&epoch)).unwrap().join(" ")
    };
    assert!(row("5").ends_with("0.100-1.000 0.90000 5.000e-4 0.10000 yes"), "{text}");
    assert!(row("10").ends_with("0.500-1.000 0.95000 0.00000 0.00000 yes"), "{text}");
    assert_eq!(resolved(loaded(&recipe.to_toml(), &[]).unwrap()), recipe);
}

#[test]
fn epochs_with_equal_values_share_a_graph_and_too_many_graphs_are_refused_by_key() {
    let resolved =
        |overrides: &[&str]| Recipe::resolve(loaded("", overrides).unwrap(), &imagenet(8)).unwrap();
    let recipe = resolved(&BY_EPOCH);
    assert_eq!(recipe.first_epochs_of_steps().collect::<Vec<_>>(), [0, 5, 6, 7, 8, 9]);
    assert_eq!(recipe.graph_obstacle(), None);
    let obstacle = resolved(&["optimizer.momentum={from=0.9, to=0.95}"]).graph_obstacle().unwrap();
    assert!(
        obstacle.starts_with("optimizer.momentum would need more than 48 graphs"),
        "{obstacle}"
    );
}

/// Overrides of the default recipe on `ImageNet` that are refused, and parts of what is said.
const REFUSED: &[(&[&str], &[&str])] = &[
    (
        &["data.train.crop_size=[{until=\"30ep\", value=96}, {until=\"89ep\", value=224}]"],
        &["data.train.crop_size: the last until (\"89ep\")", "(90 epochs of 625 steps); raise it"],
    ),
    (
        &["data.train.crop_size={from=90, to=224}"],
        &["data.train.crop_size: part 1: from (90) is not a multiple of multiple_of (8); change"],
    ),
    (
        &["data.train.crop_size={from=96, to=9600}"],
        &["data.train.crop_size (9600) must be from 1 to 8192 px"],
    ),
    (
        &["data.train.crop_size={from=96, to=224}", "algorithms.progressive_resizing=true"],
        &["algorithms.progressive_resizing and the parts of data.train.crop_size", "= false)"],
    ),
    (
        &["data.train.crop_size={from=96, to=224}", "algorithms.fixres=true"],
        &["algorithms.fixres and the parts of data.train.crop_size", "or write one crop_size"],
    ),
    (
        &["data.train.scale=[{until=\"80ep\", value=[0.1, 1]}, {value=[0.5, 1.2]}]"],
        &["data.train.scale ([0.5, 1.2]) is a share of the image; keep it at most 1"],
    ),
    (
        &["data.train.ratio=[{until=\"80ep\", value=[0.75, 1.3]}, {value=[2, 1]}]"],
        &["data.train.ratio ([2, 1]) must rise; exchange the two"],
    ),
    (
        &["optimizer.momentum=[{until=\"5ep\", value=0.9}, {value=1.1}]"],
        &["optimizer.momentum (1.1)", "below 1"],
    ),
    (
        &["optimizer.momentum=[{until=\"5ep\", value=0.0}, {value=0.9}]"],
        &["optimizer.momentum (0) must be a finite number above 0"],
    ),
    (
        &["optimizer.name=adamw", "optimizer.momentum={from=0.9, to=0.95}"],
        &["optimizer.momentum changes by epoch and means nothing to", "\"adamw\"; write one value"],
    ),
    (
        &["optimizer.weight_decay=[{until=\"5ep\", value=-1}, {value=0}]"],
        &["optimizer.weight_decay (-1)"],
    ),
    (
        &["optimizer.lr=[{until=\"5ep\", from=0, to=2}, {from=2, to=0}]"],
        &[
            "optimizer.lr changes by epoch, and so does the schedule",
            "scheduler.t_warmup = \"0ep\"",
        ],
    ),
    (
        &["algorithms.label_smoothing.smoothing={from=0.1, to=1.5}"],
        &["algorithms.label_smoothing.smoothing (1.5)", "below 1"],
    ),
    (
        &[
            "mlperf.division=closed",
            "data.train.crop_size={from=96, to=224}",
            "data.train.scale=[{until=\"80ep\", value=[0.1, 1]}, {value=[0.5, 1]}]",
            "optimizer.momentum={from=0.9, to=0.95}",
            "optimizer.weight_decay={from=5e-5, to=1e-4}",
            "algorithms.label_smoothing.smoothing={from=0.1, to=0}",
        ],
        &[
            "data.train.crop_size that changes by epoch",
            "data.train.scale that changes by epoch",
            "optimizer.momentum that changes by epoch",
            "optimizer.weight_decay that changes by epoch",
            "algorithms.label_smoothing.smoothing other than 0 or 0.1",
        ],
    ),
];

#[test]
fn lists_that_make_no_sense_are_refused_by_key_with_the_cure() {
    for (overrides, parts) in REFUSED {
        let file = loaded("", overrides).unwrap();
        let message = Recipe::resolve(file, &imagenet(8)).unwrap_err().to_string();
        for part in *parts {
            assert!(message.contains(part), "{overrides:?}: no {part:?} in: {message}");
        }
    }
}
