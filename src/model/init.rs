//! Weight initialization: torchvision's defaults, then the recipe's initializers in order.

use tch::{Tensor, no_grad};

use super::{config::Initializer, weights::Weights};

/// Initializes the weights with torch's random number generator; seed it first.
pub fn init(weights: &Weights, initializers: &[Initializer]) {
    no_grad(|| {
        for rule in [Initializer::KaimingNormalFanOut, Initializer::BnOnes] {
            apply(weights, rule);
        }
        torch_linear_default(weights);
        for &rule in initializers {
            apply(weights, rule);
        }
    });
}

/// The kind of a parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    ConvWeight,
    BnWeight,
    BnBias,
    FcWeight,
    FcBias,
    /// Of squeeze-and-excitation, which keeps torch's default, as in Composer.
    ExciteWeight,
}

fn role(name: &str, tensor: &Tensor) -> Role {
    match (name, tensor.dim()) {
        ("fc.weight", _) => Role::FcWeight,
        ("fc.bias", _) => Role::FcBias,
        (_, 4) => Role::ConvWeight,
        (_, 2) => Role::ExciteWeight,
        _ => match name.rsplit('.').next() {
            Some("bias") => Role::BnBias,
            _ => Role::BnWeight,
        },
    }
}

fn apply(weights: &Weights, rule: Initializer) {
    let last_bn = last_bn_of_branches(weights);
    for (name, tensor) in weights.parameters() {
        let mut w = tensor.shallow_clone();
        let fan_in = w.numel() as f64 / w.size()[0] as f64;
        let _ = match (rule, role(name, tensor)) {
            (Initializer::KaimingNormal, Role::ConvWeight | Role::FcWeight) => {
                w.normal_(0.0, (2.0 / fan_in).sqrt())
            }
            (Initializer::KaimingNormalFanOut, Role::ConvWeight) => {
                let fan_out = w.numel() as f64 / w.size()[1] as f64;
                w.normal_(0.0, (2.0 / fan_out).sqrt())
            }
            (Initializer::BnUniform, Role::BnWeight) => w.uniform_(0.0, 1.0),
            (Initializer::BnOnes, Role::BnWeight) => w.fill_(1.0),
            (Initializer::BnUniform | Initializer::BnOnes, Role::BnBias)
            | (Initializer::BiasZeros, Role::FcBias) => w.zero_(),
            (Initializer::ZeroInitLastGamma, Role::BnWeight) if last_bn.contains(name) => w.zero_(),
            (Initializer::LinearLogConstantBias, Role::FcBias) => w.fill_(-(w.numel() as f64).ln()),
            (Initializer::FcNormal001, Role::FcWeight) => w.normal_(0.0, 0.01),
            _ => continue,
        };
    }
}

/// Names of the last batch-norm weight of each residual branch.
fn last_bn_of_branches(weights: &Weights) -> Vec<String> {
    let names = || weights.parameters().iter().map(|(name, _)| name);
    let last = if names().any(|name| name.ends_with("bn3.weight")) { "bn3" } else { "bn2" };
    names().filter(|name| name.ends_with(&format!(".{last}.weight"))).cloned().collect()
}

/// torch's default for linear layers: U(-1, 1) / sqrt(`fan_in`) for weight and bias.
fn torch_linear_default(weights: &Weights) {
    let fc = |name| weights.get(name).expect("every ResNet ends in fc").shallow_clone();
    let bound_of = |weight: &Tensor| 1.0 / (weight.size()[1] as f64).sqrt();
    let bound = bound_of(&fc("fc.weight"));
    for name in ["fc.weight", "fc.bias"] {
        let _ = fc(name).uniform_(-bound, bound);
    }
    for (name, tensor) in weights.parameters() {
        if role(name, tensor) == Role::ExciteWeight {
            let bound = bound_of(tensor);
            let _ = tensor.shallow_clone().uniform_(-bound, bound);
        }
    }
}
