//! The layers of a `ResNet`, with blur where the specification has it.
//!
//! Shapes: N samples of this rank, C channels, H and W height and width.

use tch::Tensor;

use super::{
    config::{BlurOrder, ModelSpec},
    weights::Weights,
};
use crate::libtorch::kernels::Norm;

/// Whether batch norm uses the batch's statistics (and updates the running ones) or the running
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics.
    Train,
    /// Running statistics.
    Eval,
}

/// Shape of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvShape {
    pub inputs: i64,
    pub outputs: i64,
    pub kernel: i64,
    pub stride: i64,
}

/// A convolution without bias and with "same" padding, optionally blurred.
#[derive(Debug)]
pub(super) struct Conv {
    name: String,
    weight: Tensor, // [C', C, k, k]
    stride: i64,
    blur: Option<BlurOrder>,
    excite: Option<Excite>,
}

impl Conv {
    pub(super) fn new(
        weights: &mut Weights,
        name: &str,
        shape: ConvShape,
        blur: Option<BlurOrder>,
    ) -> Self {
        let size = [shape.outputs, shape.inputs, shape.kernel, shape.kernel];
        let weight = weights.parameter(&format!("{name}.weight"), &size);
        Self { name: name.to_owned(), weight, stride: shape.stride, blur, excite: None }
    }

    /// The same convolution with squeeze-and-excitation of `latent` hidden channels after it.
    pub(super) fn excited(self, weights: &mut Weights, latent: i64) -> Self {
        let outputs = self.weight.size()[0];
        let excite = Excite::new(weights, &format!("{}.se", self.name), outputs, latent);
        Self { excite: Some(excite), ..self }
    }

    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// All of its weights.
    pub(super) fn weights(&self) -> impl Iterator<Item = &Tensor> {
        let excite = self.excite.iter().flat_map(|it| [&it.squeeze, &it.expand]);
        std::iter::once(&self.weight).chain(excite)
    }

    pub(super) fn stride(&self) -> i64 {
        self.stride
    }

    /// The layer's name, if it is blurred.
    pub(super) fn blurred_name(&self) -> Option<&str> {
        self.blur.map(|_| self.name.as_str())
    }

    /// `[N, inputs, H, W]` to `[N, outputs, H / stride, W / stride]`, rounded up.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_by(x, &self.weight)
    }

    /// The same result with images and weights padded to `channels` input channels.
    pub(super) fn forward_padded(&self, x: &Tensor, channels: i64) -> Tensor {
        self.forward_by(&pad_channels(x, channels), &pad_channels(&self.weight, channels))
    }

    fn forward_by(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        let y = match self.blur {
            None => convolve(x, weight, self.stride),
            Some(order) => blurred_conv(x, weight, self.stride, order),
        };
        match &self.excite {
            None => y,
            Some(excite) => excite.forward(&y),
        }
    }
}

/// Squeeze-and-excitation (Hu et al. 2018, section 3): weighs channels by what all pixels show.
#[derive(Debug)]
struct Excite {
    squeeze: Tensor, // [L, C]
    expand: Tensor,  // [C, L]
}

impl Excite {
    fn new(weights: &mut Weights, name: &str, channels: i64, latent: i64) -> Self {
        Self {
            squeeze: weights.parameter(&format!("{name}.fc1.weight"), &[latent, channels]),
            expand: weights.parameter(&format!("{name}.fc2.weight"), &[channels, latent]),
        }
    }

    /// `[N, C, H, W]` to the same shape.
    fn forward(&self, x: &Tensor) -> Tensor {
        let none = None::<&Tensor>;
        let hidden =
            x.adaptive_avg_pool2d([1, 1]).flatten(1, -1).linear(&self.squeeze, none).relu();
        let shares = hidden.linear(&self.expand, none).sigmoid(); // [N, C]
        x * shares.unsqueeze(-1).unsqueeze(-1)
    }
}

/// Appends zeros to dimension 1 of images or weights, up to `channels`.
fn pad_channels(x: &Tensor, channels: i64) -> Tensor {
    match channels - x.size()[1] {
        0 => x.shallow_clone(),
        missing => x.constant_pad_nd([0, 0, 0, 0, 0, missing]),
    }
}

/// "Same" padding of a convolution.
pub(super) fn padding(weight: &Tensor) -> i64 {
    weight.size()[2] / 2
}

/// Convolution with "same" padding.
fn convolve(x: &Tensor, weight: &Tensor, stride: i64) -> Tensor {
    x.conv2d(weight, None::<&Tensor>, [stride; 2], [padding(weight); 2], [1, 1], 1)
}

/// A strided convolution with a low-pass filter for the subsampling.
///
/// `x` `[N, C, H, W]`, `weight` `[C', C, k, k]` to `[N, C', H / stride, W / stride]`, rounded up.
pub fn blurred_conv(x: &Tensor, weight: &Tensor, stride: i64, order: BlurOrder) -> Tensor {
    match order {
        // Subsampling commutes with a 1x1 convolution: same result, a quarter of the work.
        BlurOrder::BlurFirst if weight.size()[2] == 1 => convolve(&blur(x, stride), weight, 1),
        BlurOrder::BlurFirst => convolve(&blur(x, 1), weight, stride),
        BlurOrder::ConvFirst => blur(&convolve(x, weight, 1), stride),
    }
}

/// Depthwise `[1 2 1] x [1 2 1] / 16` with zero padding 1 (Zhang 2019). Two 2x2 average pools equal
/// this kernel and need neither weights nor a depthwise convolution.
///
/// `[N, C, H, W]` to `[N, C, H / stride, W / stride]`, rounded up.
pub fn blur(x: &Tensor, stride: i64) -> Tensor {
    let mean = |x: &Tensor, stride, padding| {
        x.avg_pool2d([2, 2], [stride; 2], [padding; 2], false, true, None)
    };
    mean(&mean(x, 1, 1), stride, 0)
}

/// Batch norm over N, H and W (Ioffe and Szegedy 2015, algorithm 1).
#[derive(Debug)]
pub(super) struct BatchNorm {
    weight: Tensor,       // [C]
    bias: Tensor,         // [C]
    running_mean: Tensor, // [C]
    running_var: Tensor,  // [C]
    momentum: f64,
    eps: f64,
    ghost_batch_size: Option<i64>,
    is_frozen: bool,
}

impl BatchNorm {
    pub(super) fn new(weights: &mut Weights, name: &str, channels: i64, spec: &ModelSpec) -> Self {
        let weight = weights.parameter(&format!("{name}.weight"), &[channels]);
        let bias = weights.parameter(&format!("{name}.bias"), &[channels]);
        let is_frozen = weights.is_frozen(&format!("{name}.weight"));
        Self {
            weight,
            bias,
            running_mean: weights.buffer(&format!("{name}.running_mean"), channels, 0.0),
            running_var: weights.buffer(&format!("{name}.running_var"), channels, 1.0),
            momentum: spec.bn_momentum,
            eps: spec.bn_eps,
            ghost_batch_size: spec.ghost_batch_size.map(|n| n as i64),
            is_frozen,
        }
    }

    pub(super) fn weights(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }

    /// What the fused kernels need of this layer.
    pub(super) fn norm(&self) -> Norm<'_> {
        Norm {
            weight: &self.weight,
            bias: &self.bias,
            running_mean: &self.running_mean,
            running_var: &self.running_var,
            momentum: self.momentum,
            eps: self.eps,
        }
    }

    /// `[N, C, H, W]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mode = if self.is_frozen { Mode::Eval } else { mode };
        match (self.ghost_batch_size, mode) {
            (Some(size), Mode::Train) if x.size()[0] > size => {
                let num_parts = (x.size()[0] + size - 1) / size;
                let parts = x.chunk(num_parts, 0);
                let parts: Vec<_> = parts.iter().map(|part| self.normalise(part, mode)).collect();
                Tensor::cat(&parts, 0)
            }
            _ => self.normalise(x, mode),
        }
    }

    fn normalise(&self, x: &Tensor, mode: Mode) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            mode == Mode::Train,
            self.momentum,
            self.eps,
            true,
        )
    }
}

/// 3x3 max-pool with stride 2. If blurred, the maximum is computed at stride 1.
pub fn max_pool(x: &Tensor, blurred: Option<BlurOrder>) -> Tensor {
    let pool = |stride| x.max_pool2d([3, 3], [stride; 2], [1, 1], [1, 1], false);
    match blurred {
        None => pool(2),
        Some(_) => blur(&pool(1), 2),
    }
}
