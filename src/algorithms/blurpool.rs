//! `BlurPool`: low-pass filter before subsampling, so that a small shift of the image moves the
//! features a little instead of changing them.
//!
//! Source: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", section 3: the
//! kernel `[1 2 1] x [1 2 1] / 16`, depthwise, zero padding 1, is applied before each subsampling.
//! Suggested: all defaults. Trade-off: +0.5 to 1 point of ImageNet accuracy for 4 to 35 % of the
//! step, depending on how the filter is computed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::Method;
use crate::{
    model::{Block, Blur, BlurOrder, ModelSpec},
    problems::Problems,
};

/// `[algorithms.blurpool]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BlurPool {
    /// Blur strided convolutions.
    pub replace_convs: bool,
    /// Blur the max-pool.
    pub replace_maxpools: bool,
    /// Blur before the convolution. If false, blur after it, and the convolution has stride 1.
    pub blur_first: bool,
    /// Leave convolutions with fewer input channels unchanged.
    pub min_channels: usize,
}

impl Default for BlurPool {
    fn default() -> Self {
        Self { replace_convs: true, replace_maxpools: true, blur_first: true, min_channels: 16 }
    }
}

impl Method for BlurPool {
    fn change_model(&self, spec: &mut ModelSpec) {
        spec.blur = Some(Blur {
            convs: self.replace_convs,
            maxpools: self.replace_maxpools,
            order: if self.blur_first { BlurOrder::BlurFirst } else { BlurOrder::ConvFirst },
            min_channels: self.min_channels,
        });
    }

    fn check_model(&self, spec: &ModelSpec, problems: &mut Problems) {
        let widest = widest_strided_input(spec);
        if !self.replace_maxpools && !self.replace_convs {
            problems.add(
                "algorithms.blurpool changes nothing: replace_convs and replace_maxpools are \
                 false; set one to true or remove the table",
            );
        } else if !self.replace_maxpools && widest < self.min_channels {
            problems.add(format!(
                "algorithms.blurpool changes nothing: no strided convolution has min_channels \
                 ({}) input channels (the widest has {widest}); lower min_channels or remove the \
                 table",
                self.min_channels
            ));
        }
    }
}

/// Most input channels of a strided convolution: those of the shortcut of the last stage, or the
/// 3 of the stem in a network of one stage.
fn widest_strided_input(spec: &ModelSpec) -> usize {
    let expansion = match spec.block {
        Block::Basic => 1,
        Block::Bottleneck => 4,
    };
    match spec.depths.len() {
        0 | 1 => 3,
        stages => spec.width.saturating_mul(expansion << (stages - 2)),
    }
}
