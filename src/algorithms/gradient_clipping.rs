//! Gradient clipping: bounds the gradient, so that one odd batch cannot throw the weights far.
//!
//! Source: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", algorithm
//! 1: `norm` multiplies all gradients by `min(1, threshold / (|g| + 1e-6))`, with the norm over all
//! weights, as torch's `clip_grad_norm_`;
//! `value` clamps each number to the threshold. Suggested: `norm`,
//! 1 to 5, where the loss jumps; off elsewhere. Trade-off: one pass over the gradients; it hides
//! learning rates that are too high.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::Method;
#[cfg(feature = "torch")]
use crate::optim::Clip;
use crate::{data::DataConfig, problems::Problems};

/// `[algorithms.gradient_clipping]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GradientClipping {
    /// What is bounded.
    pub clip: ClipBy,
    /// The bound.
    pub threshold: f64,
}

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClipBy {
    /// The norm of all gradients together.
    Norm,
    /// Each number of each gradient.
    Value,
}

impl Default for GradientClipping {
    fn default() -> Self {
        Self { clip: ClipBy::Norm, threshold: 1.0 }
    }
}

impl Method for GradientClipping {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        problems.above_zero("algorithms.gradient_clipping.threshold", self.threshold);
    }
}

#[cfg(feature = "torch")]
impl GradientClipping {
    /// What the optimizer does before each update.
    pub fn clip(&self) -> Clip {
        match self.clip {
            ClipBy::Norm => Clip::Norm(self.threshold),
            ClipBy::Value => Clip::Value(self.threshold),
        }
    }
}
