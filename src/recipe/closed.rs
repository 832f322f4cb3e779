//! The rules of the closed division of MLPerf Training that a recipe can break.
//!
//! Source: the closed ResNet rules of the logging checker: SGD or LARS with polynomial decay,
//! smoothing 0 or 0.1, the reference's network and loss.

use super::file::RecipeFile;
use crate::{
    model::Arch,
    optim::{LossName, OptimizerConfig, OptimizerName, ScheduleConfig},
};

/// The settings of `file` that only the open division allows.
pub(super) fn open_only(file: &RecipeFile) -> Vec<String> {
    let mut found = Vec::new();
    // Research runs are not scored, and rehearsals of the closed rules use small networks.
    if file.model.arch != Arch::Resnet50 && file.mlperf.status != "research" {
        found.push("model.arch other than resnet50".to_owned());
    }
    if file.loss.name == LossName::BinaryCrossEntropyWithLogits {
        found.push("loss.name = binary_cross_entropy_with_logits".to_owned());
    }
    if file.model.weights.is_some() {
        found.push("model.weights".to_owned());
    }
    if !file.model.freeze.is_empty() {
        found.push("model.freeze".to_owned());
    }
    found.extend(optimizer(&file.optimizer));
    found.extend(scheduler(&file.scheduler, file.optimizer.lr.peak()));
    found.extend(by_epoch(file).into_iter().map(|key| format!("{key} that changes by epoch")));
    found.extend(file.algorithms.open_only());
    found
}

/// The keys with values by epoch. The reference has one value for a whole run, and the rules leave
/// only the schedule of the learning rate open.
fn by_epoch(file: &RecipeFile) -> Vec<&'static str> {
    let (train, optimizer) = (&file.data.train, &file.optimizer);
    let keys = [
        ("data.train.crop_size", train.crop_size.changes()),
        ("data.train.scale", train.scale.changes()),
        ("data.train.ratio", train.ratio.changes()),
        ("optimizer.lr", optimizer.lr.changes()),
        ("optimizer.momentum", optimizer.momentum.changes()),
        ("optimizer.weight_decay", optimizer.weight_decay.changes()),
    ];
    keys.into_iter().filter(|(_, changes)| *changes).map(|(key, _)| key).collect()
}

fn optimizer(optimizer: &OptimizerConfig) -> Vec<String> {
    if !matches!(optimizer.name, OptimizerName::Sgd | OptimizerName::Lars) {
        return vec![format!("optimizer.name = {}", optimizer.name.as_str())];
    }
    let mut found = Vec::new();
    let weight_decay = optimizer.weight_decay.always();
    if weight_decay.is_some_and(|decay| !is_whole((decay / 1e-4).log2())) {
        found.push("optimizer.weight_decay other than 0.0001 times a power of 2".to_owned());
    }
    if !optimizer.lr_multipliers.is_empty() {
        found.push("optimizer.lr_multipliers".to_owned());
    }
    if optimizer.epsilon() != 0.0 {
        found.push("optimizer.epsilon other than 0".to_owned());
    }
    if optimizer.name == OptimizerName::Sgd && !is_whole(optimizer.lr.peak() / 1e-3) {
        found.push("optimizer.lr of sgd other than a multiple of 0.001".to_owned());
    }
    found
}

fn scheduler(scheduler: &ScheduleConfig, base_lr: f64) -> Vec<String> {
    let Some(power) = scheduler.power() else {
        return vec![format!("scheduler.name = {}", scheduler.name.as_str())];
    };
    let mut found = Vec::new();
    if (power - 2.0).abs() > f64::EPSILON {
        found.push("scheduler.power other than 2".to_owned());
    }
    if (scheduler.end_lr(base_lr) - 1e-4).abs() > f64::EPSILON {
        found.push("scheduler.end_lr other than 0.0001".to_owned());
    }
    found
}

/// Whether the number is as near to a whole number as the checker requires.
fn is_whole(number: f64) -> bool {
    (number - number.round()).abs() < 1e-5
}
