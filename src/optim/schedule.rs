//! Learning rate by step. The functions are pure, so that `plan` can show what training will do.
//!
//! With k = step + `step_offset` (steps from 0), W the warm-up, T the run, both in steps, `lr` the
//! recipe's rate and `a_i`, `a_f` its `alpha_i` and `alpha_f`: every schedule rises linearly,
//! `lr (a_i + (1 - a_i) k / W)` while k < W, so that with `a_i` = 0 the first step changes nothing.
//! Then, with `f = (k - W) / (T - W)`, at most 1:
//!
//! | name | rate | source | note |
//! |---|---|---|---|
//! | `cosine_decay_with_warmup` | `lr (a_f + (1 - a_f) (1 + cos(pi f)) / 2)` | Composer 0.7 | the default; a safe choice for any length |
//! | `poly` | `end + (lr - end) (1 - f)^power` | MLPerf's reference; You et al. 2017 | `end_lr` is a rate, not a factor; what LARS is tuned with |
//! | `linear` | `lr (1 + (a_f - 1) f)` | Goyal et al. 2017 for the warm-up | as `poly` of power 1 |
//! | `triangular` | as `linear`, with `a_i` = 1e-4 | FFCV's ImageNet script | short runs: warm-up of 2 epochs, end at 0 |
//! | `multistep` | `lr gamma^n`, n milestones passed | He et al. 2015 | needs the long plateaus; slower to a target than the others |
//! | `one_cycle` | half a cosine up, half a cosine down | Smith and Topin 2017, as torch has it | torch's own: `t_warmup` 0.3dur, `alpha_i` 0.04, `alpha_f` 4e-6; momentum is not cycled |
//! | `constant` | `lr` | | for experiments; ends far from the optimum |
//!
//! NVIDIA's closed recipe counts steps from 1 (`step_offset = 1`) and reaches `end_lr` at the last
//! step; MLPerf's TF2 reference counts from 0 and decays over one step more (`decay_offset = 1`).

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::{RunLength, Span, Time};

/// `[scheduler]`. Keys that are absent take the default of the schedule that `name` picks; a key
/// of another schedule is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Shape of the schedule.
    pub name: ScheduleName,
    /// Linear warm-up.
    pub t_warmup: Time,
    /// Last learning rate, as a fraction of the peak.
    pub alpha_f: f64,
    /// Added to the number of every step; 1: steps are counted from 1, as `MXNet` does.
    pub step_offset: usize,
    /// Learning rate of step 0, as a fraction of the peak; absent: 1e-4 for `triangular`, 0.04 for
    /// `one_cycle`, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_i: Option<f64>,
    /// `poly`: last learning rate; absent: `alpha_f` times the peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_lr: Option<f64>,
    /// `poly`: exponent; absent: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// `poly`: steps by which the decay is longer than what the warm-up leaves of the run;
    /// absent: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_offset: Option<usize>,
    /// `multistep`: when the rate falls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milestones: Option<Vec<Time>>,
    /// `multistep`: factor at each milestone; absent: 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
}

/// Names of the schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// Half a cosine.
    CosineDecayWithWarmup,
    /// A power of the remaining fraction of the run.
    Poly,
    /// A straight line down.
    Linear,
    /// A straight line up and one down.
    Triangular,
    /// Steps down.
    Multistep,
    /// Half a cosine up and half a cosine down.
    OneCycle,
    /// The same rate to the end.
    Constant,
}

impl ScheduleName {
    /// The name as a recipe spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CosineDecayWithWarmup => "cosine_decay_with_warmup",
            Self::Poly => "poly",
            Self::Linear => "linear",
            Self::Triangular => "triangular",
            Self::Multistep => "multistep",
            Self::OneCycle => "one_cycle",
            Self::Constant => "constant",
        }
    }
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            name: ScheduleName::CosineDecayWithWarmup,
            t_warmup: Time::Epochs(8.0),
            alpha_f: 0.0,
            step_offset: 0,
            alpha_i: None,
            end_lr: None,
            power: None,
            decay_offset: None,
            milestones: None,
            gamma: None,
        }
    }
}

impl ScheduleConfig {
    fn alpha_i(&self) -> f64 {
        self.alpha_i.unwrap_or(match self.name {
            ScheduleName::Triangular => 1e-4,
            ScheduleName::OneCycle => 0.04,
            _ => 0.0,
        })
    }

    /// Exponent of `poly`; none for the others.
    pub fn power(&self) -> Option<f64> {
        (self.name == ScheduleName::Poly).then(|| self.power.unwrap_or(2.0))
    }

    fn gamma(&self) -> f64 {
        self.gamma.unwrap_or(0.1)
    }

    /// The learning rate that the schedule decays to from `base_lr`.
    pub fn end_lr(&self, base_lr: f64) -> f64 {
        let fallen = |milestones: &Vec<Time>| self.gamma().powi(milestones.len() as i32);
        match self.name {
            ScheduleName::Constant => base_lr,
            ScheduleName::Multistep => base_lr * self.milestones.as_ref().map_or(1.0, fallen),
            _ => self.end_lr.unwrap_or(self.alpha_f * base_lr),
        }
    }

    /// The same with the defaults of its schedule written out.
    #[must_use]
    pub fn filled(mut self) -> Self {
        self.alpha_i = Some(self.alpha_i());
        match self.name {
            ScheduleName::Poly => {
                self.power = self.power();
                self.decay_offset.get_or_insert(0);
            }
            ScheduleName::Multistep => self.gamma = Some(self.gamma()),
            _ => {}
        }
        self
    }

    /// Keys that are set although the schedule does not have them.
    pub fn foreign_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("end_lr", self.end_lr.is_some(), ScheduleName::Poly),
            ("power", self.power.is_some(), ScheduleName::Poly),
            ("decay_offset", self.decay_offset.is_some(), ScheduleName::Poly),
            ("milestones", self.milestones.is_some(), ScheduleName::Multistep),
            ("gamma", self.gamma.is_some(), ScheduleName::Multistep),
        ];
        let foreign = keys.into_iter().filter(|(_, set, name)| *set && *name != self.name);
        foreign.map(|(key, ..)| key).collect()
    }
}

/// A schedule for a run of known length.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    config: ScheduleConfig,
    base_lr: f64,
    warmup_steps: usize,
    total_steps: usize,
    /// Steps at which the rate falls, in any order.
    milestones: Vec<usize>,
    /// The learning rate by time, where the recipe lists it.
    spans: Vec<Span<f64>>,
}

impl Schedule {
    /// The schedule of `config` with a peak of `base_lr`.
    pub fn new(config: &ScheduleConfig, base_lr: f64, run_length: &RunLength) -> Self {
        let milestones = config.milestones.iter().flatten();
        Self {
            base_lr,
            warmup_steps: config.t_warmup.to_steps(run_length),
            total_steps: run_length.total_steps(),
            milestones: milestones.map(|time| time.to_steps(run_length)).collect(),
            config: config.clone(),
            spans: Vec::new(),
        }
    }

    /// The learning rates of `spans` instead.
    #[must_use]
    pub fn listed(self, spans: Vec<Span<f64>>) -> Self {
        let warmup_steps = spans.first().map_or(self.warmup_steps, Span::rising_steps);
        Self { warmup_steps, spans, ..self }
    }

    /// Steps of warm-up.
    pub fn warmup_steps(&self) -> usize {
        self.warmup_steps
    }

    /// Steps of the decay, 1 at least.
    pub fn decay_steps(&self) -> usize {
        let left = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        left.saturating_add(self.config.decay_offset.unwrap_or(0))
    }

    /// Learning rate of optimizer step `step`, counted from 0.
    pub fn lr(&self, step: usize) -> f64 {
        if let Some(lr) = Span::of_step(&self.spans, step) {
            return lr;
        }
        let count = step.saturating_add(self.config.step_offset);
        if self.config.name == ScheduleName::OneCycle {
            return self.base_lr * self.one_cycle(count);
        }
        if count < self.warmup_steps {
            let fraction = count as f64 / self.warmup_steps as f64;
            return self.base_lr * between(self.config.alpha_i(), 1.0, fraction);
        }
        let gone = ((count - self.warmup_steps) as f64 / self.decay_steps() as f64).min(1.0);
        let alpha_f = self.config.alpha_f;
        match self.config.name {
            ScheduleName::CosineDecayWithWarmup => {
                self.base_lr * (alpha_f + (1.0 - alpha_f) * 0.5 * (1.0 + (PI * gone).cos()))
            }
            ScheduleName::Poly => {
                let left = (1.0 - gone).powf(self.config.power.unwrap_or(2.0));
                between(self.config.end_lr(self.base_lr), self.base_lr, left)
            }
            ScheduleName::Linear | ScheduleName::Triangular => {
                self.base_lr * between(1.0, alpha_f, gone)
            }
            ScheduleName::Multistep => {
                let passed = self.milestones.iter().filter(|at| **at <= count).count();
                self.base_lr * self.config.gamma().powi(passed as i32)
            }
            ScheduleName::OneCycle | ScheduleName::Constant => self.base_lr,
        }
    }

    /// torch's `OneCycleLR` as a factor: the top is the last step of the warm-up, the end the last
    /// step of the run.
    fn one_cycle(&self, count: usize) -> f64 {
        let cosine = |from: f64, to: f64, fraction: f64| {
            to + (from - to) * 0.5 * (1.0 + (PI * fraction.min(1.0)).cos())
        };
        let (top, last) = (self.warmup_steps.saturating_sub(1), self.total_steps.saturating_sub(1));
        if count < top {
            return cosine(self.config.alpha_i(), 1.0, count as f64 / top as f64);
        }
        let down = last.saturating_sub(top).max(1) as f64;
        cosine(1.0, self.config.alpha_f, (count - top) as f64 / down)
    }
}

/// The point a `fraction` of the way from `from` to `to`.
fn between(from: f64, to: f64, fraction: f64) -> f64 {
    from + (to - from) * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN_LENGTH: RunLength = RunLength { steps_per_epoch: 10, num_epochs: 10, batch_size: 8 };

    fn schedule(toml: &str) -> Schedule {
        Schedule::new(&toml::from_str(toml).unwrap(), 2.0, &RUN_LENGTH)
    }

    #[test]
    fn a_run_without_warmup_starts_at_the_top_and_falls_to_its_end() {
        for shape in ["cosine_decay_with_warmup", "poly", "linear", "triangular", "one_cycle"] {
            let text = format!("name = \"{shape}\"\nt_warmup = \"0ep\"\nalpha_f = 0.1");
            let schedule = schedule(&text);
            assert!((schedule.lr(0) - 2.0).abs() < 1e-12, "{shape}");
            assert!((schedule.lr(100) - 0.2).abs() < 1e-12, "{shape}");
            assert!((schedule.lr(1_000_000) - 0.2).abs() < 1e-12, "{shape} stays there");
            assert!((1..100).all(|step| schedule.lr(step) < schedule.lr(step - 1)), "{shape}");
        }
    }

    #[test]
    fn a_run_that_is_all_warmup_rises_to_the_end() {
        let schedule = schedule("t_warmup = \"1dur\"");
        assert_eq!(schedule.warmup_steps(), 100);
        assert!((schedule.lr(50) - 1.0).abs() < 1e-12);
        assert!((schedule.lr(100) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn stairs_fall_at_their_milestones() {
        let stairs = "name = \"multistep\"\nt_warmup = \"1ep\"\ngamma = 0.5\n\
                      milestones = [\"3ep\", \"0.6dur\", \"80ba\"]";
        let schedule = schedule(stairs);
        for (step, lr) in [(5, 1.0), (10, 2.0), (29, 2.0), (30, 1.0), (60, 0.5), (99, 0.25)] {
            assert!((schedule.lr(step) - lr).abs() < 1e-12, "{step}: {}", schedule.lr(step));
        }
        assert!((schedule.config.end_lr(2.0) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_constant_rate_stays_after_its_warmup() {
        let schedule = schedule("name = \"constant\"\nt_warmup = \"10ba\"\nalpha_i = 0.5");
        assert!((schedule.lr(0) - 1.0).abs() < 1e-12);
        assert!([10, 50, 99].iter().all(|step| (schedule.lr(*step) - 2.0).abs() < 1e-12));
    }

    #[test]
    fn the_power_bends_the_decay() {
        for (power, halfway) in [(1.0, 1.0 + 0.5e-4), (2.0, 0.5 + 0.75e-4), (0.5, 1.414_242_8)] {
            let text =
                format!("name = \"poly\"\nt_warmup = \"0ep\"\nend_lr = 1e-4\npower = {power}");
            assert!((schedule(&text).lr(50) - halfway).abs() < 1e-6, "{power}");
        }
    }
}
