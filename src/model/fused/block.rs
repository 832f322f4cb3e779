//! A residual block as one node of the autograd graph.

use std::sync::Arc;

use tch::{Tensor, no_grad};

use super::{
    BlockInput, Next,
    layer::{Convolution, Layer, LayerGradient, in_kind_of_parameters, parameters},
};
use crate::{
    libtorch::{
        BridgeError, attach_node,
        kernels::{Incoming, Kernels},
    },
    model::{
        layers::{BatchNorm, Conv, Mode},
        resnet::Residual,
    },
};

/// What the backward pass of a block needs.
struct Saved {
    branch: Vec<Layer>,
    /// Whether the input of each layer of the branch has been blurred.
    blurred: Vec<bool>,
    shortcut: Option<Layer>,
    mask: Tensor, // [N, H, W, C / 8], bits
    next: Next,
}

impl Residual {
    /// Whether the shortcut reads the block's input after a blur with stride 2.
    pub(super) fn blurs_shortcut(&self) -> bool {
        self.shortcut.as_ref().is_some_and(|(conv, _)| conv.blurred_name().is_some())
    }

    /// The layers of the branch, then that of the shortcut.
    pub(super) fn layers(&self) -> impl Iterator<Item = &(Conv, BatchNorm)> {
        self.branch.iter().chain(&self.shortcut)
    }

    /// `relu(branch(x) + shortcut(x))`, in the form that the next layer reads. `weight` returns the
    /// weights of [`Residual::layers`], one after another, in the storage's kind.
    pub(super) fn forward_fused(
        &self,
        input: &BlockInput,
        weight: &mut impl FnMut() -> Tensor,
        next: Next,
        mode: Mode,
        kernels: &Arc<Kernels>,
    ) -> Result<BlockInput, BridgeError> {
        let (saved, output) = no_grad(|| self.compute(input, weight, next, mode, kernels))?;
        if mode == Mode::Train {
            let layers = self.layers().flat_map(parameters);
            let inputs: Vec<_> =
                [&input.branch, &input.shortcut].into_iter().chain(layers).collect();
            let outputs = match next {
                Next::Classifier => vec![&output.branch],
                Next::Block | Next::BlurredShortcut => vec![&output.branch, &output.shortcut],
            };
            let kernels = Arc::clone(kernels);
            attach_node(&outputs, &inputs, move |gradients| {
                saved.backward(&gradients, &kernels).expect("gradients of a block")
            })?;
        }
        Ok(output)
    }

    fn compute(
        &self,
        input: &BlockInput,
        weight: &mut impl FnMut() -> Tensor,
        next: Next,
        mode: Mode,
        kernels: &Kernels,
    ) -> Result<(Saved, BlockInput), BridgeError> {
        let blurred: Vec<_> =
            self.branch.iter().map(|(conv, _)| conv.blurred_name().is_some()).collect();
        let mut branch: Vec<Layer> = Vec::new();
        for ((conv, bn), &blurred) in self.branch.iter().zip(&blurred) {
            let x = match (branch.last(), blurred) {
                (None, false) => input.branch.detach(),
                (None, true) => kernels.blur(&input.branch)?,
                (Some(last), false) => kernels.bn_relu(&last.output, &last.statistics)?,
                (Some(last), true) => kernels.bn_relu_blur(&last.output, &last.statistics)?,
            };
            let convolution = Convolution::new(conv, weight());
            branch.push(Layer::forward(convolution, bn, x, mode, kernels)?);
        }
        let last = branch.last().expect("a block has convolutions");
        let shortcut_input = input.shortcut.detach();
        let (shortcut, (y, mask)) = match self.shortcut.as_ref() {
            None => (None, kernels.bn_add_relu(&last.output, &last.statistics, &shortcut_input)?),
            Some((conv, bn)) => {
                let mut convolution = Convolution::new(conv, weight());
                if self.blurs_shortcut() {
                    convolution.stride = 1; // the blur has halved H and W already
                }
                let other = Layer::forward(convolution, bn, shortcut_input, mode, kernels)?;
                let sum = kernels.bn_bn_relu(
                    &last.output,
                    &last.statistics,
                    &other.output,
                    &other.statistics,
                )?;
                (Some(other), sum)
            }
        };
        let output = match next {
            Next::Block => BlockInput { shortcut: y.detach(), branch: y },
            Next::BlurredShortcut => BlockInput { shortcut: kernels.blur_halve(&y)?, branch: y },
            Next::Classifier => {
                let mean = kernels.mean(&y)?;
                BlockInput { shortcut: mean.shallow_clone(), branch: mean }
            }
        };
        Ok((Saved { branch, blurred, shortcut, mask, next }, output))
    }
}

impl Saved {
    /// The gradients of the branch's input, the shortcut's input, and the parameters of all layers.
    fn backward(
        &self,
        gradients: &[Option<Tensor>],
        kernels: &Kernels,
    ) -> Result<Vec<Option<Tensor>>, BridgeError> {
        let gradient = |i: usize| gradients[i].as_ref().expect("the next layer reads the output");
        let dy = match self.next {
            Next::Block => Incoming::Sum(gradient(0), gradient(1)),
            Next::BlurredShortcut => Incoming::Blurred(gradient(0), gradient(1)),
            Next::Classifier => Incoming::Mean(gradient(0)),
        };
        let last = self.branch.last().expect("a block has convolutions");
        let (mut norm, shortcut_gradient, shortcut_parameters) = match &self.shortcut {
            None => {
                let (norm, residual) = kernels.bn_add_relu_backward(
                    &dy,
                    &self.mask,
                    &last.output,
                    &last.statistics,
                )?;
                (norm, residual, None)
            }
            Some(other) => {
                let (norm, other_norm) = kernels.bn_bn_relu_backward(
                    &dy,
                    &self.mask,
                    &last.output,
                    &last.statistics,
                    &other.output,
                    &other.statistics,
                )?;
                let (input, parameters) = other.backward(other_norm)?;
                (norm, input, Some(parameters))
            }
        };
        let mut parameters: Vec<LayerGradient> = shortcut_parameters.into_iter().collect();
        let mut i = self.branch.len() - 1;
        let branch_gradient = loop {
            let (mut dx, gradient) = self.branch[i].backward(norm)?;
            parameters.push(gradient);
            if self.blurred[i] {
                dx = kernels.blur(&dx)?; // the blur is its own transpose
            }
            if i == 0 {
                break dx;
            }
            i -= 1;
            let layer = &self.branch[i];
            norm = kernels.bn_relu_backward(&dx, &layer.output, &layer.statistics)?;
        };
        parameters.reverse();
        let parameters = in_kind_of_parameters(parameters)?;
        Ok([Some(branch_gradient), Some(shortcut_gradient)].into_iter().chain(parameters).collect())
    }
}
