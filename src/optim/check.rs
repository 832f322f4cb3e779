//! Checks of `[optimizer]` and `[scheduler]`: values out of range, and keys that the chosen rule or
//! schedule does not have.

use super::{
    config::{OptimizerConfig, OptimizerName},
    schedule::{ScheduleConfig, ScheduleName},
};
use crate::problems::Problems;

/// More Newton-Schulz iterations than this are a typing error.
const MAX_NS_STEPS: usize = 99;

impl OptimizerConfig {
    /// Adds what is wrong with `[optimizer]`.
    pub fn check(&self, problems: &mut Problems) {
        optimizer("optimizer", self, problems);
    }

    /// Why the steps cannot be captured once and replayed; `None` where they can.
    pub fn graph_obstacle(&self) -> Option<String> {
        let rules = [Some(self), self.others.as_deref()];
        let dampened = rules.into_iter().flatten().find(|rule| rule.dampening != 0.0)?;
        Some(format!(
            "optimizer.dampening ({}) makes the first step differ from all others; set it to 0",
            dampened.dampening
        ))
    }
}

impl ScheduleConfig {
    /// Adds what is wrong with `[scheduler]`.
    pub fn check(&self, problems: &mut Problems) {
        scheduler(self, problems);
    }
}

/// Checks the table `section` of an update rule.
fn optimizer(section: &str, optimizer: &OptimizerConfig, p: &mut Problems) {
    let key = |name: &str| format!("{section}.{name}");
    optimizer.lr.check(&key("lr"), p, |key, lr, p| p.at_least_zero(key, lr));
    if optimizer.lr.peak() == 0.0 {
        p.above_zero(&key("lr"), 0.0);
    }
    optimizer.momentum.check(&key("momentum"), p, |key, momentum, p| {
        p.zero_to_below_one(key, momentum);
        // A step without momentum would leave the old one standing.
        if momentum == 0.0 && optimizer.momentum.changes() {
            p.above_zero(key, momentum);
        }
    });
    optimizer
        .weight_decay
        .check(&key("weight_decay"), p, |key, decay, p| p.at_least_zero(key, decay));
    if optimizer.momentum.changes() && optimizer.has_betas() {
        p.add(format!(
            "{section}.momentum changes by epoch and means nothing to {section}.name = \"{}\"; write \
             one value or change the name",
            optimizer.name.as_str()
        ));
    }
    p.zero_to_one(&key("dampening"), optimizer.dampening);
    p.at_least_zero(&key("eta"), optimizer.eta());
    p.at_least_zero(&key("epsilon"), optimizer.epsilon());
    for beta in optimizer.betas() {
        p.zero_to_below_one(&key("betas"), beta);
    }
    for (module, &factor) in &optimizer.lr_multipliers {
        p.above_zero(&key(&format!("lr_multipliers.{module}")), factor);
    }
    let foreign = optimizer.foreign_keys();
    for name in &foreign {
        p.add(format!(
            "{section}.{name} means nothing to {section}.name = \"{}\"; remove it or change the name",
            optimizer.name.as_str()
        ));
    }
    let lacks_momentum = optimizer.momentum.peak() == 0.0 || optimizer.dampening != 0.0;
    if optimizer.nesterov && !foreign.contains(&"nesterov") && lacks_momentum {
        p.add(format!(
            "{section}.nesterov needs momentum ({}) above 0 and dampening ({}) 0; change them or \
             set nesterov = false",
            optimizer.momentum.peak(),
            optimizer.dampening
        ));
    }
    correction(section, optimizer, p);
    if optimizer.name == OptimizerName::Muon {
        muon(section, optimizer, p);
    }
}

/// A momentum that is not corrected at all cannot be corrected in part.
fn correction(section: &str, optimizer: &OptimizerConfig, p: &mut Problems) {
    if optimizer.momentum_correction == Some(false) && optimizer.correct_skipped == Some(true) {
        p.add(format!(
            "{section}.correct_skipped is true and {section}.momentum_correction is false; remove \
             correct_skipped or set momentum_correction = true"
        ));
    }
}

fn muon(section: &str, optimizer: &OptimizerConfig, p: &mut Problems) {
    let ns_steps = optimizer.ns_steps();
    if !(1..=MAX_NS_STEPS).contains(&ns_steps) {
        p.add(format!("{section}.ns_steps ({ns_steps}) must be from 1 to {MAX_NS_STEPS}"));
    }
    match optimizer.others.as_deref() {
        None => p.add(format!(
            "{section}.name is muon, which updates convolutions only, and there is no \
             [{section}.others]; add it with the name, lr and constants of the rule for all other \
             tensors"
        )),
        Some(others) if others.name == OptimizerName::Muon => p.add(format!(
            "{section}.others.name is muon, which updates convolutions only; set it to sgd or adamw"
        )),
        Some(others) => {
            let changing = [
                ("lr", others.lr.changes()),
                ("momentum", others.momentum.changes()),
                ("weight_decay", others.weight_decay.changes()),
            ];
            for (name, _) in changing.into_iter().filter(|(_, changes)| *changes) {
                p.add(format!(
                    "{section}.others.{name} changes by epoch, which only {section}.{name} may do; \
                     write one value"
                ));
            }
            self::optimizer(&format!("{section}.others"), others, p);
        }
    }
}

/// Checks `[scheduler]`.
fn scheduler(scheduler: &ScheduleConfig, p: &mut Problems) {
    scheduler.t_warmup.check("scheduler.t_warmup", p);
    p.zero_to_one("scheduler.alpha_f", scheduler.alpha_f);
    p.zero_to_one("scheduler.alpha_i", scheduler.alpha_i.unwrap_or_default());
    p.at_least_zero("scheduler.end_lr", scheduler.end_lr.unwrap_or_default());
    p.above_zero("scheduler.power", scheduler.power.unwrap_or(1.0));
    p.above_zero("scheduler.gamma", scheduler.gamma.unwrap_or(1.0));
    for milestone in scheduler.milestones.iter().flatten() {
        milestone.check("scheduler.milestones", p);
    }
    for name in scheduler.foreign_keys() {
        p.add(format!(
            "scheduler.{name} means nothing to scheduler.name = \"{}\"; remove it or change the name",
            scheduler.name.as_str()
        ));
    }
    if let (ScheduleName::Poly, Some(end_lr)) = (scheduler.name, scheduler.end_lr)
        && scheduler.alpha_f != 0.0
    {
        p.add(format!(
            "scheduler.end_lr ({end_lr}) and scheduler.alpha_f ({}) both name the end; set alpha_f \
             to 0 or remove end_lr",
            scheduler.alpha_f
        ));
    }
    if scheduler.name == ScheduleName::Multistep && scheduler.milestones.is_none() {
        p.add(
            "scheduler.name is multistep and there are no scheduler.milestones; add them, as in \
             [\"30ep\", \"60ep\", \"80ep\"]",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dampened_momentum_cannot_be_captured() {
        let config: OptimizerConfig = toml::from_str("dampening = 0.5").unwrap();
        let message = config.graph_obstacle().unwrap();
        assert!(message.contains("dampening (0.5)"), "{message}");
        assert_eq!(OptimizerConfig::default().graph_obstacle(), None);
    }
}
