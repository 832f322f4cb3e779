//! SGD with momentum, with torch's coupled or with decoupled weight decay, by fused operations.

use tch::Tensor;

use super::{
    config::{OptimizerConfig, OptimizerName},
    groups::decays,
};
use crate::dist::c10d::{BridgeError, Params, SgdStep};

/// The update rule, its parameters and their momenta.
pub struct Optimizer {
    config: OptimizerConfig,
    groups: Vec<Group>,
}

/// Parameters that decay alike.
struct Group {
    params: Params,
    weight_decay: f64,
}

/// Momenta by group; see [`Optimizer::snapshot`].
pub struct OptimizerState(Vec<Vec<Tensor>>);

impl Optimizer {
    /// An optimizer for the named parameters.
    pub fn new(config: &OptimizerConfig, named: &[(String, Tensor)]) -> Result<Self, BridgeError> {
        let (decayed, exempt): (Vec<_>, Vec<_>) =
            named.iter().partition(|(name, t)| decays(name, t.dim(), &config.no_decay));
        let mut groups = Vec::new();
        for (members, weight_decay) in [(decayed, config.weight_decay), (exempt, 0.0)] {
            if !members.is_empty() {
                let params = Params::new(members.into_iter().map(|(_, tensor)| tensor))?;
                groups.push(Group { params, weight_decay });
            }
        }
        Ok(Self { config: config.clone(), groups })
    }

    /// One update with learning rate `lr` by the gradients that backward left; then forgets them.
    ///
    /// `buf = m buf + (1 - dampening) g` (first step `buf = g`), `w -= lr (nesterov ? g + m buf : buf)`.
    /// Decoupled: `w *= 1 - wd lr / lr_0` first, with `lr_0` the recipe's `lr`. Coupled: `g += wd w`.
    pub fn step(&mut self, lr: f64) -> Result<(), BridgeError> {
        self.update(lr, None)
    }

    /// [`Optimizer::step`], unless `found_inf` (`[1]`, fp32) is 1; the host need not know.
    pub fn step_unless(&mut self, lr: f64, found_inf: &Tensor) -> Result<(), BridgeError> {
        self.update(lr, Some(found_inf))
    }

    /// Multiplies the gradients by `inv_scale` and sets `found_inf` to 1 where one is not finite;
    /// both `[1]`, fp32.
    pub fn unscale(&mut self, inv_scale: &Tensor, found_inf: &Tensor) -> Result<(), BridgeError> {
        self.groups.iter_mut().try_for_each(|g| g.params.unscale_grads(inv_scale, found_inf))
    }

    fn update(&mut self, lr: f64, found_inf: Option<&Tensor>) -> Result<(), BridgeError> {
        for group in &mut self.groups {
            let (weight_decay, decoupled) = match self.config.name {
                OptimizerName::Sgd => (group.weight_decay, 0.0),
                OptimizerName::DecoupledSgdw => (0.0, group.weight_decay * lr / self.config.lr),
            };
            let step = SgdStep {
                lr,
                momentum: self.config.momentum,
                weight_decay,
                dampening: self.config.dampening,
                shrink: 1.0 - decoupled,
                nesterov: u8::from(self.config.nesterov),
            };
            group.params.sgd(&step, found_inf)?;
            group.params.drop_grads()?;
        }
        Ok(())
    }

    /// The momenta (shared, not copied), group by group; none before the first step.
    pub fn momenta(&self) -> Result<Vec<Tensor>, BridgeError> {
        let by_group: Result<Vec<_>, _> = self.groups.iter().map(|g| g.params.momenta()).collect();
        Ok(by_group?.into_iter().flatten().collect())
    }

    /// Copies of the momenta.
    pub fn snapshot(&self) -> Result<OptimizerState, BridgeError> {
        let copies = |group: &Group| Ok(group.params.momenta()?.iter().map(Tensor::copy).collect());
        self.groups.iter().map(copies).collect::<Result<_, _>>().map(OptimizerState)
    }

    /// Puts a snapshot back.
    pub fn restore(&mut self, state: &OptimizerState) -> Result<(), BridgeError> {
        for (group, momenta) in self.groups.iter_mut().zip(&state.0) {
            group.params.set_momenta(momenta)?;
        }
        Ok(())
    }
}
