//! SAM: steps by the gradient at a nearby point where the loss is higher, which finds flat minima.
//!
//! Source: Foret et al. 2021, "Sharpness-Aware Minimization", algorithm 1 and equation 2; like
//! Composer 0.7.0: on every `interval`-th step the weights move to `w + rho g / (|g| + epsilon)`, with the
//! norm over all weights, a second forward and backward gives the gradient there, and the optimizer
//! steps from w by it. Suggested: rho 0.05, or 0.5 with interval 10. Trade-off: twice the cost of
//! each such step for up to 0.7 points in runs of 90 epochs; nothing for short ones. Here the first
//! gradient is the mean over all ranks too; Composer climbs by each rank's own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "torch")]
use super::algorithm::{Algorithm, MethodContext, Next, Progress};
use super::method::Method;
use crate::{data::DataConfig, problems::Problems};
#[cfg(feature = "torch")]
use crate::{
    libtorch::{BridgeError, TensorList},
    optim::Optimizer,
};

/// `[algorithms.sam]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sam {
    /// Length of the climb.
    pub rho: f64,
    /// Guards the division by the gradient's norm.
    pub epsilon: f64,
    /// Steps from one climb to the next.
    pub interval: usize,
}

impl Default for Sam {
    fn default() -> Self {
        Self { rho: 0.05, epsilon: 1e-12, interval: 1 }
    }
}

impl Method for Sam {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        problems.above_zero("algorithms.sam.rho", self.rho);
        problems.at_least_zero("algorithms.sam.epsilon", self.epsilon);
        problems.one_or_more("algorithms.sam.interval", self.interval);
    }

    fn graph_obstacle(&self) -> Option<&'static str> {
        Some("computes some steps twice")
    }

    #[cfg(feature = "torch")]
    fn start(&self, context: &MethodContext) -> Result<Option<Box<dyn Algorithm>>, BridgeError> {
        Ok(Some(Box::new(SamAlgorithm::new(self, context.weights)?)))
    }
}

/// SAM during training.
#[cfg(feature = "torch")]
pub struct SamAlgorithm {
    config: Sam,
    weights: TensorList,
    /// The weights before the climb.
    start: TensorList,
    is_up: bool,
}

#[cfg(feature = "torch")]
impl SamAlgorithm {
    /// Acts on `weights`, which are all of the network's.
    pub fn new(config: &Sam, weights: &TensorList) -> Result<Self, BridgeError> {
        let (config, start) = (config.clone(), weights.duplicate()?);
        Ok(Self { config, weights: weights.shared()?, start, is_up: false })
    }
}

#[cfg(feature = "torch")]
impl Algorithm for SamAlgorithm {
    fn after_backward(
        &mut self,
        now: Progress,
        optimizer: &mut Optimizer,
    ) -> Result<Next, BridgeError> {
        if self.is_up {
            self.is_up = false;
            self.weights.copy_from(&self.start)?;
        } else if (now.step + 1).is_multiple_of(self.config.interval) {
            self.is_up = true;
            self.start.copy_from(&self.weights)?;
            optimizer.ascend(self.config.rho, self.config.epsilon)?;
            return Ok(Next::BackwardAgain);
        }
        Ok(Next::Update)
    }
}
