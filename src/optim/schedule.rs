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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Time;

    fn schedule(t_warmup: Time, alpha_f: f64) -> Schedule {
        let config = ScheduleConfig { t_warmup, alpha_f, ..ScheduleConfig::default() };
        let horizon = Horizon { steps_per_epoch: 10, num_epochs: 10, batch_size: 8 };
        Schedule::new(&config, 2.0, &horizon)
    }

    #[test]
    fn a_run_without_warmup_starts_at_the_top_and_falls_to_alpha_f() {
        let schedule = schedule(Time::Epochs(0.0), 0.1);
        assert!((schedule.lr(0) - 2.0).abs() < 1e-12);
        assert!((schedule.lr(100) - 0.2).abs() < 1e-12);
        assert!((schedule.lr(1_000_000) - 0.2).abs() < 1e-12, "it stays there");
        assert!((1..100).all(|step| schedule.lr(step) < schedule.lr(step - 1)));
    }

    #[test]
    fn a_run_that_is_all_warmup_rises_to_the_end() {
        let schedule = schedule(Time::Fraction(1.0), 0.0);
        assert_eq!(schedule.warmup_steps(), 100);
        assert!((schedule.lr(50) - 1.0).abs() < 1e-12);
        assert!((schedule.lr(100) - 2.0).abs() < 1e-12);
    }
}

#[cfg(test)]
mod golden_tests {
    use std::{env, fs};

    use serde_json::Value;

    use super::*;

    #[test]
    fn golden_lr_schedule() {
        let folder = env::var("MLPERF_RUN_GOLDEN")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden").to_owned());
        let text = fs::read_to_string(format!("{folder}/lr_schedule.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let ours = golden["schedules"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|golden| golden["kind"] == "cosine_decay_with_warmup");
        assert!(ours.map(agrees).count() > 0);
    }

    fn agrees(golden: &Value) {
        let name = golden["name"].as_str().unwrap();
        let count = |key: &str| golden[key].as_u64().unwrap() as usize;
        let base_lr = golden["base_lr"].as_f64().unwrap();
        let config = ScheduleConfig {
            name: ScheduleName::CosineDecayWithWarmup,
            t_warmup: golden["t_warmup"].as_str().unwrap().parse().unwrap(),
            alpha_f: golden["alpha_f"].as_f64().unwrap(),
        };
        let horizon = Horizon {
            steps_per_epoch: count("steps_per_epoch"),
            num_epochs: count("effective_epochs"),
            batch_size: 1,
        };
        let schedule = Schedule::new(&config, base_lr, &horizon);
        assert_eq!(schedule.warmup_steps(), count("warmup_steps"), "{name}");
        assert_eq!(horizon.total_steps(), count("total_steps"), "{name}");
        for row in golden["values"].as_array().unwrap() {
            let step = row[0].as_u64().unwrap() as usize;
            let (ours, theirs) = (schedule.lr(step), row[2].as_f64().unwrap());
            assert!((ours - theirs).abs() <= 1e-12 * base_lr, "{name} {step}: {ours} {theirs}");
        }
    }
}
