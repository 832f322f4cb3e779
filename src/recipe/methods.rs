//! Checks of `[algorithms]`: parameters within their ranges, and methods that go together.

use super::{raw::RawRecipe, validate::Problems};
use crate::algorithms::{
    ColOut, Ema, FixRes, GradientClipping, ProgressiveResizing, Resolution, Sam, SelectiveBackprop,
    Swa,
};

/// Adds what is wrong with the methods of `raw`.
pub(super) fn methods(raw: &RawRecipe, p: &mut Problems) {
    let methods = &raw.algorithms;
    if let Some(method) = &methods.label_smoothing {
        p.zero_to_below_one("algorithms.label_smoothing.smoothing", method.smoothing);
    }
    if let Some(method) = &methods.fixres {
        fixres(method, p);
    }
    if let Some(method) = &methods.progressive_resizing {
        progressive_resizing(method, raw.data.train.crop_size, p);
    }
    if let Some(method) = &methods.resolution {
        resolution(method, p);
        if methods.progressive_resizing.is_some() {
            p.add(
                "algorithms.resolution and algorithms.progressive_resizing both set the side by \
                 epoch; remove one of the tables",
            );
        }
    }
    if let Some(method) = &methods.ema {
        ema(method, p);
    }
    if let Some(method) = &methods.mixup {
        beta("algorithms.mixup.alpha", method.alpha, p);
    }
    if let Some(method) = &methods.cutmix {
        beta("algorithms.cutmix.alpha", method.alpha, p);
    }
    if let Some(method) = &methods.cutout {
        p.above_zero("algorithms.cutout.length", method.length);
        p.zero_to_one("algorithms.cutout.length", method.length);
    }
    if let Some(ColOut { p_row, p_col }) = methods.colout {
        p.zero_to_below_one("algorithms.colout.p_row", p_row);
        p.zero_to_below_one("algorithms.colout.p_col", p_col);
    }
    if let Some(method) = &methods.stochastic_depth {
        p.zero_to_below_one("algorithms.stochastic_depth.drop_rate", method.drop_rate);
    }
    if let Some(method) = &methods.ghost_batch_norm {
        p.one_or_more("algorithms.ghost_batch_norm.ghost_batch_size", method.ghost_batch_size);
    }
    if let Some(method) = &methods.selective_backprop {
        selective_backprop(method, p);
    }
    if let Some(Sam { rho, epsilon, interval }) = methods.sam {
        p.above_zero("algorithms.sam.rho", rho);
        p.at_least_zero("algorithms.sam.epsilon", epsilon);
        p.one_or_more("algorithms.sam.interval", interval);
    }
    if let Some(GradientClipping { threshold, .. }) = methods.gradient_clipping {
        p.above_zero("algorithms.gradient_clipping.threshold", threshold);
    }
    if let Some(Swa { start, interval }) = methods.swa {
        super::validate::time("algorithms.swa.start", start, p);
        p.positive_time("algorithms.swa.interval", interval);
        if methods.ema.is_some() {
            p.add(
                "algorithms.swa and algorithms.ema both give the weights to judge; remove one of \
                 the tables",
            );
        }
    }
}

/// Refuses what no draw from Beta(alpha, alpha) is quick for.
fn beta(key: &str, alpha: f64, p: &mut Problems) {
    if !(alpha > 0.0 && alpha <= 4.0) {
        p.add(format!("{key} ({alpha}) must be above 0 and at most 4"));
    }
}

fn selective_backprop(method: &SelectiveBackprop, p: &mut Problems) {
    let SelectiveBackprop { start, end, keep, .. } = *method;
    p.zero_to_one("algorithms.selective_backprop.start", start);
    p.zero_to_one("algorithms.selective_backprop.end", end);
    p.above_zero("algorithms.selective_backprop.keep", keep);
    p.zero_to_one("algorithms.selective_backprop.keep", keep);
    if start >= end {
        p.add(format!(
            "algorithms.selective_backprop.end ({end}) is not after start ({start}), so that it \
             never selects; raise it or remove the table"
        ));
    }
}

fn fixres(method: &FixRes, p: &mut Problems) {
    if method.train_crop_size > method.eval_crop_size {
        p.add(format!(
            "algorithms.fixres.train_crop_size ({}) exceeds eval_crop_size ({}), and the method is \
             to train on less than it judges; lower the first or remove the table",
            method.train_crop_size, method.eval_crop_size
        ));
    }
}

fn progressive_resizing(method: &ProgressiveResizing, crop_size: usize, p: &mut Problems) {
    const NAME: &str = "algorithms.progressive_resizing";
    let ProgressiveResizing { initial_scale, delay_fraction, finetune_fraction, .. } = *method;
    p.above_zero(&format!("{NAME}.initial_scale"), initial_scale);
    p.zero_to_one(&format!("{NAME}.delay_fraction"), delay_fraction);
    p.zero_to_one(&format!("{NAME}.finetune_fraction"), finetune_fraction);
    p.one_or_more(&format!("{NAME}.size_increment"), method.size_increment);
    if delay_fraction + finetune_fraction > 1.0 {
        p.add(format!(
            "{NAME}: delay_fraction ({delay_fraction}) and finetune_fraction ({finetune_fraction}) \
             are more than the whole run; lower one of them"
        ));
    }
    if initial_scale >= 1.0 {
        p.add(format!(
            "{NAME} changes nothing: initial_scale ({initial_scale}) is the full size; lower it or \
             remove the table"
        ));
    } else if initial_scale > 0.0
        && method.size_increment > 0
        && method.image_size(crop_size, 0.0) == 0
    {
        p.add(format!(
            "{NAME}: initial_scale ({initial_scale}) of a crop of {crop_size} px, in multiples of \
             {}, is 0 px; raise initial_scale or lower size_increment",
            method.size_increment
        ));
    }
}

fn resolution(method: &Resolution, p: &mut Problems) {
    let Resolution { min_res, max_res, start_ramp, end_ramp, increment } = *method;
    p.image_size("algorithms.resolution.max_res", max_res);
    p.one_or_more("algorithms.resolution.min_res", min_res);
    p.one_or_more("algorithms.resolution.increment", increment);
    if min_res > max_res || start_ramp > end_ramp {
        p.add(format!(
            "algorithms.resolution must rise from min_res ({min_res}) to max_res ({max_res}) \
             between start_ramp ({start_ramp}) and end_ramp ({end_ramp}); exchange what falls"
        ));
    }
}

fn ema(method: &Ema, p: &mut Problems) {
    for (key, length) in [
        ("algorithms.ema.half_life", method.half_life),
        ("algorithms.ema.update_interval", method.update_interval),
    ] {
        p.positive_time(key, length);
    }
    if !method.include_buffers {
        p.add(
            "algorithms.ema.include_buffers (false) would judge averaged weights by batch norm's \
             statistics of the last step, which do not fit them; remove the key",
        );
    }
}
