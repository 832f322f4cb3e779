//! What the closed division of MLPerf Training leaves free, as far as a recipe can break it.
//!
//! Source: the closed ResNet rules of the logging checker: SGD or LARS with polynomial decay,
//! smoothing 0 or 0.1, the reference's network and loss.

use super::raw::RawRecipe;
use crate::{
    model::Arch,
    optim::{LossName, OptimizerName, ScheduleName},
};

/// What in `raw` the open division alone allows.
pub(super) fn open_only(raw: &RawRecipe) -> Vec<&'static str> {
    let mut found = Vec::new();
    if raw.model.arch != Arch::Resnet50 {
        found.push("model.arch other than resnet50");
    }
    if raw.loss.name == LossName::BinaryCrossEntropyWithLogits {
        found.push("loss.name = binary_cross_entropy_with_logits");
    }
    if raw.optimizer.name == OptimizerName::DecoupledSgdw {
        found.push("optimizer.name = decoupled_sgdw");
    }
    match raw.scheduler.name {
        ScheduleName::CosineDecayWithWarmup => {
            found.push("scheduler.name = cosine_decay_with_warmup");
        }
    }
    let methods = &raw.algorithms;
    for (is_on, name) in [
        (methods.blurpool.is_some(), "algorithms.blurpool"),
        (methods.fixres.is_some(), "algorithms.fixres"),
        (methods.progressive_resizing.is_some(), "algorithms.progressive_resizing"),
        (methods.resolution.is_some(), "algorithms.resolution"),
        (methods.ema.is_some(), "algorithms.ema"),
    ] {
        if is_on {
            found.push(name);
        }
    }
    let smoothing = raw.algorithms.label_smoothing.as_ref().map_or(0.0, |s| s.smoothing);
    if ![0.0, 0.1].contains(&smoothing) {
        found.push("algorithms.label_smoothing.smoothing other than 0 or 0.1");
    }
    found
}
