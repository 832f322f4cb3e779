//! `[algorithms]` of a recipe.

use serde::{Deserialize, Serialize};

use super::{BlurPool, ChannelsLast, Ema, FixRes, LabelSmoothing, ProgressiveResizing, Resolution};

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
    /// `[algorithms.fixres]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixres: Option<FixRes>,
    /// `[algorithms.progressive_resizing]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progressive_resizing: Option<ProgressiveResizing>,
    /// `[algorithms.resolution]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// `[algorithms.ema]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<Ema>,
}
