//! Assigns parameters to update rules, makes the updates, and holds their state.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::{
    adam::Adam,
    config::{OptimizerConfig, OptimizerName},
    lamb::Lamb,
    lars::Lars,
    muon::Muon,
    sgd::Sgd,
};
use crate::libtorch::{BridgeError, Moments, Params, StepNow, kernels::Kernels};

/// The update rules, their parameters and their state.
pub struct Optimizer {
    groups: Vec<Group>,
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

impl Part {
    /// The rule of the parameter `name` of `dim` dimensions.
    fn of(config: &OptimizerConfig, name: &str, dim: usize) -> Self {
        let rule = match config.name {
            OptimizerName::Sgd | OptimizerName::DecoupledSgdw => {
                Rule::Sgd(Sgd::new(config, name, dim))
            }
            OptimizerName::Lars => Rule::Lars(Lars::new(config, name, dim)),
            OptimizerName::Adamw | OptimizerName::DecoupledAdamw => {
                Rule::Adam(Adam::new(config, name, dim))
            }
            OptimizerName::Lamb => Rule::Lamb(Lamb::new(config, name, dim)),
            OptimizerName::Muon => match &config.others {
                Some(others) if dim != 4 => {
                    let part = Self::of(others, name, dim);
                    return Self { lr_fraction: others.lr / config.lr, ..part };
                }
                _ => Rule::Muon(Muon::new(config, name, dim)),
            },
        };
        Self { rule, lr_fraction: 1.0 }
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
    pub fn new(config: &OptimizerConfig, named: &[(String, Tensor)]) -> Result<Self, BridgeError> {
        let mut parts: Vec<(Part, Vec<&Tensor>)> = Vec::new();
        for (name, tensor) in named {
            let part = Part::of(config, name, tensor.dim());
            match parts.iter_mut().find(|(other, _)| *other == part) {
                Some((_, members)) => members.push(tensor),
                None => parts.push((part, vec![tensor])),
            }
        }
        let group = |(part, members): (Part, Vec<&Tensor>)| {
            let lr = lr_on(members[0].device());
            Ok(Group { params: Params::new(members, part.moments())?, part, lr })
        };
        let groups = parts.into_iter().map(group).collect::<Result<_, _>>()?;
        Ok(Self { groups, clip: None, kernels: None })
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
        self.groups.iter_mut().try_for_each(|g| g.params.unscale_grads(inv_scale, found_inf))
    }

    /// Moves the weights by `rho g / (|g| + epsilon)`, with the norm over all weights, and drops the
    /// gradients (Foret et al. 2021, equation 2).
    pub fn ascend(&mut self, rho: f64, epsilon: f64) -> Result<(), BridgeError> {
        let factor = (self.grad_norm()? + epsilon).reciprocal() * rho;
        self.groups.iter_mut().try_for_each(|g| g.params.ascend(&factor))
    }

    /// Norm of all gradients together, `[]`, on the device.
    fn grad_norm(&mut self) -> Result<Tensor, BridgeError> {
        let norms: Result<Vec<_>, _> =
            self.groups.iter_mut().map(|g| g.params.grad_norm()).collect();
        Ok(Tensor::stack(&norms?, 0).norm())
    }

    fn hold_to(&mut self, clip: Clip) -> Result<(), BridgeError> {
        match clip {
            Clip::Norm(most) => {
                let factor = (self.grad_norm()? + CLIP_EPSILON).reciprocal() * most;
                let factor = factor.clamp_max(1.0);
                self.groups.iter_mut().try_for_each(|g| g.params.scale_grads(&factor))
            }
            Clip::Value(most) => {
                self.groups.iter_mut().try_for_each(|g| g.params.clamp_grads(most))
            }
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
        for Group { part, params, lr } in &mut self.groups {
            let now = &StepNow { lr, found_inf, kernels: self.kernels.as_deref() };
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

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, no_grad};

    use super::*;

    const LR: f64 = 0.05;

    fn rules() -> Vec<OptimizerConfig> {
        let texts = [
            "name = \"sgd\"\nnesterov = true",
            "name = \"decoupled_sgdw\"\ndampening = 0.3",
            "name = \"lars\"\nlr = 2.0",
            "name = \"lars\"\nmomentum_correction = false",
            "name = \"adamw\"",
            "name = \"decoupled_adamw\"",
            "name = \"lamb\"\nskip = [\"bn\"]",
            "name = \"muon\"\nnesterov = true\n[others]\nname = \"adamw\"\nlr = 0.1",
        ];
        texts.iter().map(|text| toml::from_str(text).unwrap()).collect()
    }

    /// A convolution, a batch norm and a linear layer.
    fn network() -> Vec<(String, Tensor)> {
        let shapes: [(&str, &[i64]); 5] = [
            ("conv1.weight", &[4, 3, 3, 3]),
            ("conv2.weight", &[2, 4, 1, 1]),
            ("bn1.weight", &[4]),
            ("fc.weight", &[3, 4]),
            ("fc.bias", &[3]),
        ];
        let tensor = |(i, (name, shape)): (usize, &(&str, &[i64]))| {
            let n: i64 = shape.iter().product();
            let t = Tensor::arange(n, (Kind::Float, Device::Cpu)) + i as i64;
            let t = (t * 0.7).sin().reshape(*shape);
            ((*name).to_owned(), t.set_requires_grad(true))
        };
        shapes.iter().enumerate().map(tensor).collect()
    }

    /// Computes the gradients of `factor` times a function of all weights.
    fn backward(network: &[(String, Tensor)], factor: f64) {
        let loss = |t: &Tensor| (t.square() + t.cos()).sum(Kind::Float) * factor;
        network.iter().map(|(_, t)| loss(t)).reduce(|a, b| a + b).unwrap().backward();
    }

    fn train(optimizer: &mut Optimizer, network: &[(String, Tensor)], num_steps: usize) {
        for step in 0..num_steps {
            backward(network, 1.0 + step as f64);
            optimizer.set_lr(LR * (1.0 + step as f64));
            optimizer.step().unwrap();
        }
    }

    fn bits<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<Vec<u32>> {
        let flat = |t: &Tensor| Vec::<f32>::try_from(t.detach().reshape([-1])).unwrap();
        tensors.into_iter().map(|t| flat(t).into_iter().map(f32::to_bits).collect()).collect()
    }

    fn weights(network: &[(String, Tensor)]) -> Vec<Vec<u32>> {
        bits(network.iter().map(|(_, t)| t))
    }

    fn put_back(network: &[(String, Tensor)], copies: &[Tensor]) {
        no_grad(|| {
            for ((_, tensor), copy) in network.iter().zip(copies) {
                tensor.shallow_clone().copy_(copy);
            }
        });
    }

    #[test]
    fn every_rule_trains_on_as_if_what_was_taken_back_had_not_been() {
        for config in rules() {
            let (cold, warm) = (network(), network());
            let mut colds = Optimizer::new(&config, &cold).unwrap();
            let mut warms = Optimizer::new(&config, &warm).unwrap();
            // Once before the first step, as warm-up does it, and once in the middle.
            for _ in 0..2 {
                let copies: Vec<_> = warm.iter().map(|(_, t)| t.detach().copy()).collect();
                let snapshot = warms.snapshot().unwrap();
                train(&mut warms, &warm, 3);
                put_back(&warm, &copies);
                warms.restore(&snapshot).unwrap();
                assert_eq!(bits(&warms.state().unwrap()), bits(&colds.state().unwrap()));
                train(&mut colds, &cold, 2);
                train(&mut warms, &warm, 2);
                assert_eq!(weights(&warm), weights(&cold), "{config:?}");
            }
            assert_ne!(weights(&cold), weights(&network()), "{config:?} does nothing");
        }
    }

    #[test]
    fn no_rule_is_moved_by_an_infinite_gradient() {
        let inf = Tensor::from_slice(&[1f32]);
        for config in rules() {
            let (with, without) = (network(), network());
            let mut skipping = Optimizer::new(&config, &with).unwrap();
            let mut plain = Optimizer::new(&config, &without).unwrap();
            let fine = Tensor::from_slice(&[0f32]);
            skipping.set_lr(LR);
            plain.set_lr(LR);
            for step in [None, Some(1.0), None, Some(2.0), None] {
                let before = weights(&with);
                backward(&with, step.unwrap_or(f64::INFINITY));
                skipping.step_unless(if step.is_some() { &fine } else { &inf }).unwrap();
                match step {
                    None => assert_eq!(weights(&with), before, "{config:?}"),
                    Some(factor) => {
                        backward(&without, factor);
                        plain.step().unwrap();
                    }
                }
            }
            let close = |(a, b): (&(String, Tensor), &(String, Tensor))| {
                f64::try_from((&a.1 - &b.1).abs().max()).unwrap() < 1e-5
            };
            // Dampening leaves nothing out of the first gradient; here the first one was lost.
            let exact = config.dampening == 0.0;
            assert!(!exact || with.iter().zip(&without).all(close), "{config:?}");
        }
    }

    /// How far one step of plain SGD with rate 1 moves each number.
    fn moved(clip: Option<Clip>) -> Vec<f64> {
        let config: OptimizerConfig =
            toml::from_str("name = \"sgd\"\nmomentum = 0\nweight_decay = 0").unwrap();
        let network = network();
        let before: Vec<Tensor> = network.iter().map(|(_, t)| t.detach().copy()).collect();
        let mut optimizer = Optimizer::new(&config, &network).unwrap().clipped(clip);
        backward(&network, 1.0);
        optimizer.set_lr(1.0);
        optimizer.step().unwrap();
        let moves = network.iter().zip(&before).map(|((_, t), before)| before - t.detach());
        moves
            .flat_map(|m| Vec::<f64>::try_from(m.reshape([-1]).to_kind(Kind::Double)).unwrap())
            .collect()
    }

    #[test]
    fn a_bound_holds_for_all_gradients_together_or_for_each_number() {
        let free = moved(None);
        let norm = free.iter().map(|x| x * x).sum::<f64>().sqrt();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{a} {b}");
        for (bound, factor) in [(norm / 3.0, 1.0 / 3.0), (norm * 2.0, 1.0)] {
            let held = moved(Some(Clip::Norm(bound)));
            held.iter().zip(&free).for_each(|(a, b)| close(*a, b * factor));
        }
        let held = moved(Some(Clip::Value(0.5)));
        held.iter().zip(&free).for_each(|(a, b)| close(*a, b.clamp(-0.5, 0.5)));
        assert!(free.iter().any(|x| x.abs() > 0.5));
    }

    #[test]
    fn muons_others_keep_their_share_of_the_schedule() {
        let text = "name = \"muon\"\nlr = 0.02\n[others]\nname = \"sgd\"\nlr = 0.5";
        let muon: OptimizerConfig = toml::from_str(text).unwrap();
        let alone = OptimizerConfig { ..*muon.others.clone().unwrap() };
        let (mixed, plain) = (network(), network());
        let mut optimizers =
            [(&muon, &mixed), (&alone, &plain)].map(|(c, n)| Optimizer::new(c, n).unwrap());
        for (optimizer, (network, lr)) in
            optimizers.iter_mut().zip([(&mixed, 0.01), (&plain, 0.25)])
        {
            backward(network, 1.0);
            optimizer.set_lr(lr);
            optimizer.step().unwrap();
        }
        for ((name, a), (_, b)) in mixed.iter().zip(&plain) {
            let equal = f64::try_from((a - b).abs().max()).unwrap() < 1e-6;
            assert_eq!(equal, !name.starts_with("conv"), "{name}");
        }
    }
}
