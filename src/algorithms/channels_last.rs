//! `ChannelsLast`: stores weights and images as `[N, H, W, C]` in memory, which is the layout that
//! convolution kernels of tensor cores and of oneDNN read. It does not change the numbers.
//!
//! Suggested: always on. Trade-off: none known for ResNets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::Method;

/// `[algorithms.channels_last]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelsLast {}

impl Method for ChannelsLast {
    fn closed_obstacle(&self) -> Option<&'static str> {
        None
    }
}
