//! The network on fused kernels. The stem is one node of the autograd graph, and so is each residual
//! block, so that kernels inside a node can pass gradients on without copies and separate adds.
//!
//! Shapes: N samples of this rank, C channels, H and W height and width.

mod block;
mod layer;
mod stem;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tch::Tensor;

use super::{
    config::{BlurOrder, ModelSpec},
    layers::Mode,
    resnet::ResNet,
};
use crate::libtorch::{BridgeError, kernels::Kernels};

/// What the next layer reads of a block's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The output, in its branch and in its shortcut.
    Block,
    /// The same, but the shortcut reads the output after a blur with stride 2.
    BlurredShortcut,
    /// The mean over H and W.
    Classifier,
}

/// The input of a residual block.
struct BlockInput {
    /// What the branch reads, `[N, C, H, W]`.
    branch: Tensor,
    /// What the shortcut reads: the same, or `[N, C, H / 2, W / 2]` if it is blurred.
    shortcut: Tensor,
}

/// The reason why a network of this specification cannot use the fused kernels, if there is one.
pub fn fusion_obstacle(spec: &ModelSpec) -> Option<&'static str> {
    if spec.ghost_batch_size.is_some() {
        Some("algorithms.ghost_batch_norm normalizes parts of a batch")
    } else if spec.branch_drop.is_some() {
        Some("algorithms.stochastic_depth drops branches")
    } else if spec.blur.as_ref().is_some_and(|blur| blur.order == BlurOrder::ConvFirst) {
        Some("algorithms.blurpool.blur_first = false blurs after the convolution")
    } else if !spec.width.is_multiple_of(8) {
        Some("model.custom.width is not a multiple of 8")
    } else {
        None
    }
}

impl ResNet {
    /// Images `[N, 3, R, R]` to logits `[N, K]` on fused kernels, with the result of
    /// [`ResNet::forward`]. The network must have no [`fusion_obstacle`], and its weights must be channels
    /// last.
    pub fn forward_fused(
        &self,
        images: &Tensor,
        mode: Mode,
        kernels: &Arc<Kernels>,
    ) -> Result<Tensor, BridgeError> {
        let images = images.to_kind(kernels.storage().kind());
        let mut input = self.fused_stem(&images, mode, kernels)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let next = match self.blocks.get(i + 1) {
                None => Next::Classifier,
                Some(next) if next.blurs_shortcut() => Next::BlurredShortcut,
                Some(_) => Next::Block,
            };
            input = block.forward_fused(&input, next, mode, kernels)?;
        }
        Ok(self.classify(&input.branch))
    }
}
