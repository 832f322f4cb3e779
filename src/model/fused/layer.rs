//! A convolution and its batch norm, as parts of a fused node.

use tch::Tensor;

use crate::{
    libtorch::{
        BridgeError, ConvBackward,
        kernels::{Kernels, NormGradient},
    },
    model::layers::{BatchNorm, Conv, Mode, convolve, pad_channels, padding},
};

/// A convolution whose output has been computed and whose batch norm is still to be applied.
pub(super) struct Layer {
    input: Tensor,  // [N, C, H, W], as the convolution reads it
    weight: Tensor, // [C', C, k, k], in the storage's kind
    stride: i64,
    /// Input channels of the parameter; the rest of `weight` is padding.
    channels: i64,
    /// The convolution's output, `[N, C', H', W']`.
    pub output: Tensor,
    /// The batch norm's scale, shift, mean and 1 / standard deviation, `[4, C']`.
    pub statistics: Tensor,
}

/// The gradients of a layer's parameters, in the kind of the parameters.
pub(super) struct LayerGradient {
    weight: Tensor,    // [C', C, k, k]
    bn_weight: Tensor, // [C']
    bn_bias: Tensor,   // [C']
}

impl LayerGradient {
    /// In the order of [`parameters`].
    pub(super) fn into_list(self) -> [Option<Tensor>; 3] {
        [self.weight, self.bn_weight, self.bn_bias].map(Some)
    }
}

/// The parameters of a layer, in the order of [`LayerGradient::into_list`].
pub(super) fn parameters((conv, bn): &(Conv, BatchNorm)) -> [&Tensor; 3] {
    let [weight, bias] = bn.weights();
    [conv.weight(), weight, bias]
}

impl Layer {
    /// Convolves `input` with this stride. If the layer is blurred, `input` must have been blurred. It
    /// may have more channels than the weight; they must be zero.
    pub(super) fn forward(
        (conv, bn): (&Conv, &BatchNorm),
        input: Tensor,
        stride: i64,
        mode: Mode,
        kernels: &Kernels,
    ) -> Result<Self, BridgeError> {
        let weight =
            pad_channels(&conv.weight().to_kind(kernels.storage().kind()), input.size()[1]);
        let output = convolve(&input, &weight, stride);
        let statistics = match mode {
            Mode::Train => kernels.batch_statistics(&output, &bn.norm())?,
            Mode::Eval => kernels.running_statistics(&bn.norm())?,
        };
        Ok(Self { input, weight, stride, channels: conv.weight().size()[1], output, statistics })
    }

    /// Gradients of the convolution's input and of the parameters, from those of the batch norm.
    pub(super) fn backward(
        &self,
        norm: NormGradient,
    ) -> Result<(Tensor, LayerGradient), BridgeError> {
        let (input, weight) = self.conv(&norm.x).both()?;
        Ok((input, self.gradient(&weight, norm)))
    }

    /// The same without the gradient of the input, which the stem does not need.
    pub(super) fn backward_parameters(
        &self,
        norm: NormGradient,
    ) -> Result<LayerGradient, BridgeError> {
        let weight = self.conv(&norm.x).weight()?;
        Ok(self.gradient(&weight, norm))
    }

    fn gradient(&self, weight: &Tensor, norm: NormGradient) -> LayerGradient {
        let weight = weight.narrow(1, 0, self.channels).to_kind(norm.weight.kind());
        LayerGradient { weight, bn_weight: norm.weight, bn_bias: norm.bias }
    }

    fn conv<'a>(&'a self, gradient: &'a Tensor) -> ConvBackward<'a> {
        let Self { input, weight, stride, .. } = self;
        ConvBackward { gradient, input, weight, stride: *stride, padding: padding(weight) }
    }
}
