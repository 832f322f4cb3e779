//! `ChannelsLast`: weights and images lie as `[N, H, W, C]` in memory, which is how convolution
//! kernels of tensor cores and of oneDNN read them. The numbers do not change.
//!
//! Suggested: always on. Trade-off: none known for ResNets.

use serde::{Deserialize, Serialize};

/// `[algorithms.channels_last]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelsLast {}
