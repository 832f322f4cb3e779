//! `[algorithms]` of a recipe.

use serde::{Deserialize, Serialize};

use super::{BlurPool, ChannelsLast, LabelSmoothing};

/// `[algorithms]`: the methods that are on, in the order in which they act.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlgorithmsConfig {
    /// `[algorithms.channels_last]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels_last: Option<ChannelsLast>,
    /// `[algorithms.blurpool]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blurpool: Option<BlurPool>,
    /// `[algorithms.label_smoothing]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_smoothing: Option<LabelSmoothing>,
}
