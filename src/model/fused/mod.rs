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
    layers::Mode,
    resnet::{ResNet, Residual},
};
use crate::libtorch::{BridgeError, cast, kernels::Kernels};

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

impl ResNet {
    /// Images `[N, 3, R, R]` to logits `[N, K]` on fused kernels, with the result of
    /// [`ResNet::forward`]. The network must have no
    /// [`fusion_obstacle`](super::ModelSpec::fusion_obstacle), and its weights must be channels last.
    pub fn forward_fused(
        &self,
        images: &Tensor,
        mode: Mode,
        kernels: &Arc<Kernels>,
    ) -> Result<Tensor, BridgeError> {
        let convs = self.blocks.iter().flat_map(Residual::layers).map(|(conv, _)| conv.weight());
        let weights: Vec<_> = std::iter::once(self.stem.0.weight()).chain(convs).collect();
        let mut weights = cast(&weights, kernels.storage().kind())?.into_iter();
        let mut weight = || weights.next().expect("one for each convolution");
        let mut input = self.fused_stem(images, &weight(), mode, kernels)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let next = match self.blocks.get(i + 1) {
                None => Next::Classifier,
                Some(next) if next.blurs_shortcut() => Next::BlurredShortcut,
                Some(_) => Next::Block,
            };
            input = block.forward_fused(&input, &mut weight, next, mode, kernels)?;
        }
        Ok(self.classify(&input.branch))
    }
}
