//! Assigns parameters to update rules, makes the updates, and holds their state.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::{
    adam::Adam,
    config::{OptimizerConfig, OptimizerName, UpdateConstants},
    groups::lr_multiplier,
    lamb::Lamb,
    lars::Lars,
    muon::Muon,
    sgd::Sgd,
};
use crate::libtorch::{BridgeError, Moments, Params, StepNow, kernels::Kernels};

#[cfg(test)]
mod tests;

/// The update rules, their parameters and their state.
pub struct Optimizer {
    config: OptimizerConfig,
    groups: Vec<Group>,
    /// Those of the rules in `groups`.
    constants: UpdateConstants,
    clip: Option<Clip>,
    kernels: Option<Arc<Kernels>>,
}

/// A bound on gradients before each update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// The norm of all gradients together (Pascanu et al. 2013, algorithm 1).
    Norm(f64),
    /// Each number.
    Value(f64),
}

/// Guards the division by a norm, as torch's `clip_grad_norm_`.
const CLIP_EPSILON: f64 = 1e-6;

/// Parameters that follow one rule.
struct Group {
    part: Part,
    /// Name and number of dimensions of a member, which stands for all.
    member: (String, usize),
    params: Params,
    /// Learning rate, `[]`, on the parameters' device.
    lr: Tensor,
}

/// A rule and its fraction of the schedule's learning rate.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    rule: Rule,
    lr_fraction: f64,
}

/// An update rule with its constants.
#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Sgd(Sgd),
    Lars(Lars),
    Adam(Adam),
    Lamb(Lamb),
    Muon(Muon),
}

/// Momenta and other state by group; see [`Optimizer::snapshot`].
pub struct OptimizerState(Vec<Vec<Tensor>>);

impl OptimizerState {
    /// Whether every group has a state, as after a step.
    pub fn is_full(&self) -> bool {
        self.0.iter().all(|group| !group.is_empty())
    }

    /// The tensors with names `GROUP/NUMBER`.
    pub fn into_named(self) -> impl Iterator<Item = (String, Tensor)> {
        self.0.into_iter().enumerate().flat_map(|(group, tensors)| {
            let named = move |(number, tensor)| (format!("{group}/{number}"), tensor);
            tensors.into_iter().enumerate().map(named)
        })
    }

    /// A state of `num_groups` groups, from tensors that `take` finds by such names.
    pub fn from_named(num_groups: usize, mut take: impl FnMut(&str) -> Option<Tensor>) -> Self {
        let mut group = |group| {
            (0..).map_while(|number| take(&format!("{group}/{number}"))).collect::<Vec<_>>()
        };
        Self((0..num_groups).map(&mut group).collect())
    }
}

impl Part {
    /// The rule of the parameter `name` of `dim` dimensions, with the constants `now`.
    fn of(config: &OptimizerConfig, now: UpdateConstants, (name, dim): (&str, usize)) -> Self {
        let rule = match config.name {
            OptimizerName::Sgd | OptimizerName::DecoupledSgdw => {
                Rule::Sgd(Sgd::new(config, now, (name, dim)))
            }
            OptimizerName::Lars => Rule::Lars(Lars::new(config, now, (name, dim))),
            OptimizerName::Adamw | OptimizerName::DecoupledAdamw => {
                Rule::Adam(Adam::new(config, now, (name, dim)))
            }
            OptimizerName::Lamb => Rule::Lamb(Lamb::new(config, now, (name, dim))),
            OptimizerName::Muon => match &config.others {
                Some(others) if dim != 4 => {
                    // Their own constants never change.
                    let part = Self::of(others, others.peak_constants(), (name, dim));
                    let others = others.lr.peak() / config.lr.peak();
                    let lr_fraction = others * part.lr_fraction * lr_multiplier(config, name);
                    return Self { lr_fraction, ..part };
                }
                _ => Rule::Muon(Muon::new(config, now, (name, dim))),
            },
        };
        Self { rule, lr_fraction: lr_multiplier(config, name) }
    }

    fn moments(&self) -> Moments {
        match self.rule {
            Rule::Adam(_) | Rule::Lamb(_) => Moments::Two,
            Rule::Sgd(_) | Rule::Lars(_) | Rule::Muon(_) => Moments::One,
        }
    }
}

impl Optimizer {
    /// An optimizer for the named parameters. One call updates all parameters of a rule and decay.
    pub fn new<'a>(
        config: &OptimizerConfig,
        named: impl IntoIterator<Item = &'a (String, Tensor)>,
    ) -> Result<Self, BridgeError> {
        // Tensors that decay at any time are not grouped with those that never do.
        let constants = config.peak_constants();
        let mut parts: Vec<(Part, Vec<&(String, Tensor)>)> = Vec::new();
        for named in named {
            let part = Part::of(config, constants, (&named.0, named.1.dim()));
            match parts.iter_mut().find(|(other, _)| *other == part) {
                Some((_, members)) => members.push(named),
                None => parts.push((part, vec![named])),
            }
        }
        let group = |(part, members): (Part, Vec<&(String, Tensor)>)| {
            let (name, tensor) = members[0];
            let params = members.iter().map(|(_, tensor)| tensor);
            let params = Params::new(params, part.moments())?;
            let member = (name.clone(), tensor.dim());
            Ok(Group { params, part, member, lr: lr_on(tensor.device()) })
        };
        let groups = parts.into_iter().map(group).collect::<Result<_, _>>()?;
        Ok(Self { config: config.clone(), groups, constants, clip: None, kernels: None })
    }

    /// Sets the constants of the next steps. A captured step keeps those of its capture.
    pub fn set_constants(&mut self, constants: UpdateConstants) {
        if constants == self.constants {
            return;
        }
        self.constants = constants;
        for Group { part, member: (name, dim), .. } in &mut self.groups {
            *part = Part::of(&self.config, constants, (name, *dim));
        }
    }

    /// Updates only the parameters that need gradients, from now on. The momenta of the others stay.
    pub fn select_trained(&mut self) -> Result<(), BridgeError> {
        self.groups.iter_mut().try_for_each(|group| group.params.select_trained())
    }

    /// The groups that have something to train.
    fn trained(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.iter_mut().filter(|group| !group.params.is_empty())
    }

    /// Clips gradients from now on.
    #[must_use]
    pub fn clipped(self, clip: Option<Clip>) -> Self {
        Self { clip, ..self }
    }

    /// Makes updates of SGD and LARS on fused kernels from now on, or on libtorch's.
    pub fn fuse(&mut self, kernels: Option<Arc<Kernels>>) {
        self.kernels = kernels;
    }

    /// Sets the learning rate of the next steps. It is stored on the device, where a captured step
    /// reads it.
    pub fn set_lr(&mut self, lr: f64) {
        for Group { part, lr: there, .. } in &mut self.groups {
            let _ = there.fill_(lr * part.lr_fraction);
        }
    }

    /// Makes one update with the gradients of backward, and drops them.
    pub fn step(&mut self) -> Result<(), BridgeError> {
        self.update(None)
    }

    /// [`Optimizer::step`], unless `found_inf` (`[1]`, fp32) is 1. The host does not read it.
    pub fn step_unless(&mut self, found_inf: &Tensor) -> Result<(), BridgeError> {
        self.update(Some(found_inf))
    }

    /// Multiplies the gradients by `inv_scale` and sets `found_inf` to 1 where one is not finite;
    /// both `[1]`, fp32.
    pub fn unscale(&mut self, inv_scale: &Tensor, found_inf: &Tensor) -> Result<(), BridgeError> {
        self.trained().try_for_each(|g| g.params.unscale_grads(inv_scale, found_inf))
    }

    /// Moves the weights by `rho g / (|g| + epsilon)`, with the norm over all weights, and drops the
    /// gradients (Foret et al. 2021, equation 2).
    pub fn ascend(&mut self, rho: f64, epsilon: f64) -> Result<(), BridgeError> {
        let factor = (self.grad_norm()? + epsilon).reciprocal() * rho;
        self.trained().try_for_each(|g| g.params.ascend(&factor))
    }

    /// Norm of all gradients together, `[]`, on the device.
    fn grad_norm(&mut self) -> Result<Tensor, BridgeError> {
        let norms: Result<Vec<_>, _> = self.trained().map(|g| g.params.grad_norm()).collect();
        Ok(Tensor::stack(&norms?, 0).norm())
    }

    fn hold_to(&mut self, clip: Clip) -> Result<(), BridgeError> {
        match clip {
            Clip::Norm(most) => {
                let factor = (self.grad_norm()? + CLIP_EPSILON).reciprocal() * most;
                let factor = factor.clamp_max(1.0);
                self.trained().try_for_each(|g| g.params.scale_grads(&factor))
            }
            Clip::Value(most) => self.trained().try_for_each(|g| g.params.clamp_grads(most)),
        }
    }

    /// Drops gradients that no step will use.
    pub fn drop_grads(&mut self) -> Result<(), BridgeError> {
        self.groups.iter_mut().try_for_each(|group| group.params.drop_grads())
    }

    fn update(&mut self, found_inf: Option<&Tensor>) -> Result<(), BridgeError> {
        if let Some(clip) = self.clip {
            self.hold_to(clip)?;
        }
        let kernels = self.kernels.clone();
        for Group { part, params, lr, .. } in self.trained() {
            let now = &StepNow { lr, found_inf, kernels: kernels.as_deref() };
            match &part.rule {
                Rule::Sgd(rule) => rule.step(params, now),
                Rule::Lars(rule) => rule.step(params, now),
                Rule::Adam(rule) => rule.step(params, now),
                Rule::Lamb(rule) => rule.step(params, now),
                Rule::Muon(rule) => rule.step(params, now),
            }?;
            params.drop_grads()?;
        }
        Ok(())
    }

    /// The state (shared, not copied), group by group: momenta, and with Adam's rules means of
    /// squares and the number of updates; none before the first step.
    pub fn state(&self) -> Result<Vec<Tensor>, BridgeError> {
        let by_group: Result<Vec<_>, _> = self.groups.iter().map(|g| g.params.state()).collect();
        Ok(by_group?.into_iter().flatten().collect())
    }

    /// Copies of the state.
    pub fn snapshot(&self) -> Result<OptimizerState, BridgeError> {
        let copies = |group: &Group| Ok(group.params.state()?.iter().map(Tensor::copy).collect());
        self.groups.iter().map(copies).collect::<Result<_, _>>().map(OptimizerState)
    }

    /// Copies of the state after any number of steps, those in CUDA graphs included.
    pub fn full_snapshot(&self) -> Result<OptimizerState, BridgeError> {
        let copies =
            |group: &Group| Ok(group.params.full_state()?.iter().map(Tensor::copy).collect());
        self.groups.iter().map(copies).collect::<Result<_, _>>().map(OptimizerState)
    }

    /// Number of groups, each of which has its state.
    pub fn num_groups(&self) -> usize {
        self.groups.len()
    }

    /// Puts a snapshot back, bit for bit.
    pub fn restore(&mut self, state: &OptimizerState) -> Result<(), BridgeError> {
        for (group, tensors) in self.groups.iter_mut().zip(&state.0) {
            group.params.set_state(tensors)?;
        }
        Ok(())
    }
}

/// A tensor for the learning rate. The fused kernels of a GPU need fp32; those of the CPU take any
/// number.
fn lr_on(device: Device) -> Tensor {
    let kind = if device.is_cuda() { Kind::Float } else { Kind::Double };
    Tensor::zeros([], (kind, device))
}
