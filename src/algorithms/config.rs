//! `[algorithms]` of a recipe.

use serde::{Deserialize, Serialize};

use super::{
    BlurPool, ChannelsLast, ColOut, CutMix, Cutout, Ema, FixRes, GhostBatchNorm, GradientClipping,
    LabelSmoothing, MixUp, ProgressiveResizing, Resolution, Sam, SelectiveBackprop,
    StochasticDepth, Swa,
};

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
    /// `[algorithms.ghost_batch_norm]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ghost_batch_norm: Option<GhostBatchNorm>,
    /// `[algorithms.stochastic_depth]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stochastic_depth: Option<StochasticDepth>,
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
    /// `[algorithms.selective_backprop]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selective_backprop: Option<SelectiveBackprop>,
    /// `[algorithms.colout]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colout: Option<ColOut>,
    /// `[algorithms.cutout]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutout: Option<Cutout>,
    /// `[algorithms.mixup]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<MixUp>,
    /// `[algorithms.cutmix]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<CutMix>,
    /// `[algorithms.sam]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sam: Option<Sam>,
    /// `[algorithms.gradient_clipping]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_clipping: Option<GradientClipping>,
    /// `[algorithms.ema]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<Ema>,
    /// `[algorithms.swa]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swa: Option<Swa>,
}
