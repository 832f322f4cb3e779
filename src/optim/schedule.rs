//! Learning rate by step: pure functions, so that `plan` can draw what training will do.

use std::f64::consts::PI;

use super::{
    config::{ScheduleConfig, ScheduleName},
    time::Horizon,
};

/// A schedule for a run of known length.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    name: ScheduleName,
    base_lr: f64,
    warmup_steps: usize,
    total_steps: usize,
    alpha_f: f64,
}

impl Schedule {
    /// The schedule of `config` with `base_lr` at its top.
    pub fn new(config: &ScheduleConfig, base_lr: f64, horizon: &Horizon) -> Self {
        Self {
            name: config.name,
            base_lr,
            warmup_steps: config.t_warmup.to_steps(horizon),
            total_steps: horizon.total_steps(),
            alpha_f: config.alpha_f,
        }
    }

    /// Steps of warm-up.
    pub fn warmup_steps(&self) -> usize {
        self.warmup_steps
    }

    /// Learning rate of optimizer step `step`, counted from 0.
    pub fn lr(&self, step: usize) -> f64 {
        match self.name {
            ScheduleName::CosineDecayWithWarmup => self.base_lr * self.cosine_with_warmup(step),
        }
    }

    /// Composer 0.7's `cosine_decay_with_warmup`: `t / W` in the warm-up, so that step 0 has
    /// rate 0; then `alpha_f + (1 - alpha_f) (1 + cos(pi f)) / 2` with f the share of what is left.
    fn cosine_with_warmup(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps as f64;
        }
        let left = (self.total_steps.max(self.warmup_steps + 1) - self.warmup_steps) as f64;
        let fraction = ((step - self.warmup_steps) as f64 / left).min(1.0);
        self.alpha_f + (1.0 - self.alpha_f) * 0.5 * (1.0 + (PI * fraction).cos())
    }
}
