//! A convolution and its batch norm, as parts of a fused node.

use tch::Tensor;

use crate::{
    libtorch::{
        BridgeError, ConvBackward, cast,
        kernels::{Kernels, NormGradient},
    },
    model::layers::{BatchNorm, Conv, Mode, padding},
};

/// A convolution as it is computed.
pub(super) struct Convolution {
    pub weight: Tensor, // [C', C, k, k], in the storage's kind
    pub stride: i64,
    pub padding: i64,
}

/// A convolution whose output has been computed and whose batch norm is still to be applied.
pub(super) struct Layer {
    input: Tensor, // [N, C, H, W], as the convolution reads it
    convolution: Convolution,
    /// The convolution's output, `[N, C', H', W']`.
    pub output: Tensor,
    /// The batch norm's scale, shift, mean and 1 / standard deviation, `[4, C']`.
    pub statistics: Tensor,
}

/// The gradients of a layer's parameters.
pub(super) struct LayerGradient {
    pub weight: Tensor, // [C', C, k, k], in the storage's kind
    bn_weight: Tensor,  // [C']
    bn_bias: Tensor,    // [C']
}

/// The parameters of a layer, in the order of [`in_kind_of_parameters`].
pub(super) fn parameters((conv, bn): &(Conv, BatchNorm)) -> [&Tensor; 3] {
    let [weight, bias] = bn.weights();
    [conv.weight(), weight, bias]
}

/// The gradients of all parameters of these layers, in the kind of the parameters.
pub(super) fn in_kind_of_parameters(
    layers: Vec<LayerGradient>,
) -> Result<Vec<Option<Tensor>>, BridgeError> {
    let kind = layers[0].bn_weight.kind();
    let weights: Vec<_> = layers.iter().map(|layer| &layer.weight).collect();
    let weights = cast(&weights, kind)?;
    let gradients = weights.into_iter().zip(layers);
    Ok(gradients.flat_map(|(weight, l)| [weight, l.bn_weight, l.bn_bias].map(Some)).collect())
}

impl Convolution {
    /// The convolution of `conv`, whose weight is `weight` in the storage's kind.
    pub(super) fn new(conv: &Conv, weight: Tensor) -> Self {
        Self { padding: padding(&weight), weight, stride: conv.stride() }
    }
}

impl Layer {
    /// Convolves `input`. If the layer is blurred, `input` must have been blurred.
    pub(super) fn forward(
        convolution: Convolution,
        bn: &BatchNorm,
        input: Tensor,
        mode: Mode,
        kernels: &Kernels,
    ) -> Result<Self, BridgeError> {
        let Convolution { weight, stride, padding } = &convolution;
        let (stride, padding) = ([*stride; 2], [*padding; 2]);
        let output = input.conv2d(weight, None::<&Tensor>, stride, padding, [1, 1], 1);
        let statistics = match mode {
            Mode::Train => kernels.batch_statistics(&output, &bn.norm())?,
            Mode::Eval => kernels.running_statistics(&bn.norm())?,
        };
        Ok(Self { input, convolution, output, statistics })
    }

    /// Gradients of the convolution's input and of the parameters, from those of the batch norm.
    pub(super) fn backward(
        &self,
        norm: NormGradient,
    ) -> Result<(Tensor, LayerGradient), BridgeError> {
        let (input, weight) = self.conv(&norm.x).both()?;
        Ok((input, LayerGradient { weight, bn_weight: norm.weight, bn_bias: norm.bias }))
    }

    /// The same without the gradient of the input, which the stem does not need.
    pub(super) fn backward_parameters(
        &self,
        norm: NormGradient,
    ) -> Result<LayerGradient, BridgeError> {
        let weight = self.conv(&norm.x).weight()?;
        Ok(LayerGradient { weight, bn_weight: norm.weight, bn_bias: norm.bias })
    }

    fn conv<'a>(&'a self, gradient: &'a Tensor) -> ConvBackward<'a> {
        let Self { input, convolution: Convolution { weight, stride, padding }, .. } = self;
        ConvBackward { gradient, input, weight, stride: *stride, padding: *padding }
    }
}
