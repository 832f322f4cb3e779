//! Stochastic depth: leaves out residual branches at random while training, so that the network is an
//! average of many shallower ones.
//!
//! Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", section 3; like Composer 0.7.0: a
//! branch stays with probability `1 - rate`, unscaled, and counts `1 - rate` times in evaluation.
//! `linear` gives block i of L the rate `drop_rate i / L`, `uniform` the same to all. `block` leaves it out
//! for the whole batch on all ranks, and does not compute it; `sample` image by image. Suggested:
//! `sample`, 0.1, for runs of 100 epochs or more. Trade-off: +0.4 points for 5 % more time (`sample`), or
//! 5 % less time at equal accuracy (`block`, 0.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::Method;
use crate::{
    data::DataConfig,
    model::{BranchDrop, DropBy, ModelSpec},
    problems::Problems,
};

/// `[algorithms.stochastic_depth]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StochasticDepth {
    /// What one draw decides.
    pub method: DropMethod,
    /// Rate of the last block.
    pub drop_rate: f64,
    /// Rates of the blocks before it.
    pub distribution: DropDistribution,
}

/// What one draw decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropMethod {
    /// The branch, for the whole batch.
    Block,
    /// The branch, for one image.
    Sample,
}

/// How rates depend on depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropDistribution {
    /// In proportion to the number of the block.
    Linear,
    /// Not at all.
    Uniform,
}

impl Default for StochasticDepth {
    fn default() -> Self {
        Self { method: DropMethod::Sample, drop_rate: 0.1, distribution: DropDistribution::Linear }
    }
}

impl StochasticDepth {
    /// Rate of each of `num_blocks` blocks, from the first.
    pub fn rates(&self, num_blocks: usize) -> Vec<f64> {
        let rate = |number: usize| match self.distribution {
            DropDistribution::Linear => self.drop_rate * number as f64 / num_blocks as f64,
            DropDistribution::Uniform => self.drop_rate,
        };
        (1..=num_blocks).map(rate).collect()
    }
}

impl Method for StochasticDepth {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        problems.zero_to_below_one("algorithms.stochastic_depth.drop_rate", self.drop_rate);
    }

    /// Drops by sample are drawn on the device, so that each replay of a graph draws new numbers.
    fn graph_obstacle(&self) -> Option<&'static str> {
        let reason = "with method \"block\" leaves out other blocks in every step";
        (self.method == DropMethod::Block).then_some(reason)
    }

    fn change_model(&self, spec: &mut ModelSpec) {
        let by = match self.method {
            DropMethod::Block => DropBy::Block,
            DropMethod::Sample => DropBy::Sample,
        };
        let rates = self.rates(spec.depths.iter().sum());
        spec.branch_drop = Some(BranchDrop { by, rates });
    }
}
