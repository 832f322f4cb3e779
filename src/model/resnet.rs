//! `ResNets` (He et al. 2015) with the stride in the bottleneck's 3x3 convolution ("v1.5"), of any
//! depth and width, built from a [`ModelSpec`].
//!
//! Shapes: N samples of this rank, R image size, K classes, F features of the last stage.

use tch::{Device, Kind, Tensor};

use super::{
    config::{Block, BlurOrder, DropBy, ModelSpec},
    layers::{BatchNorm, Conv, ConvShape, Mode, max_pool},
    weights::{Place, Weights},
};

/// A network and its weights.
#[derive(Debug)]
pub struct ResNet {
    pub(super) stem: (Conv, BatchNorm),
    input_channels: i64,
    pub(super) pool_blur: Option<BlurOrder>,
    pub(super) blocks: Vec<Residual>,
    fc_weight: Tensor, // [K, F]
    fc_bias: Tensor,   // [K]
    weights: Weights,
}

/// A residual block: `relu(branch(x) + shortcut(x))`.
#[derive(Debug)]
pub(super) struct Residual {
    pub(super) branch: Vec<(Conv, BatchNorm)>,
    pub(super) shortcut: Option<(Conv, BatchNorm)>,
    /// How the branch is dropped in training, and how often.
    drop: Option<(DropBy, f64)>,
}

impl ResNet {
    /// The network of a specification, with all weights zero; [`super::init`] initializes them.
    pub fn new(spec: &ModelSpec, place: Place) -> Self {
        let mut weights = Weights::new(place, &spec.frozen);
        let width = spec.width as i64;
        let mut builder = Builder { spec, weights: &mut weights };
        let stem = ConvShape { inputs: 3, outputs: width, kernel: 7, stride: 2 };
        let stem = builder.conv_bn("conv1", "bn1", stem);
        let (blocks, features) = builder.stages(width);
        let classes = spec.num_classes as i64;
        Self {
            stem,
            input_channels: spec.input_channels as i64,
            pool_blur: spec.blur.as_ref().filter(|b| b.maxpools).map(|b| b.order),
            blocks,
            fc_weight: weights.parameter("fc.weight", &[classes, features]),
            fc_bias: weights.parameter("fc.bias", &[classes]),
            weights,
        }
    }

    /// Images `[N, 3, R, R]` to logits `[N, K]`.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Tensor {
        let (conv, bn) = &self.stem;
        let x = conv.forward_padded(images, self.input_channels);
        let x = bn.forward(&x, mode).relu_();
        let x = max_pool(&x, self.pool_blur);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x, mode));
        self.classify(&x.adaptive_avg_pool2d([1, 1]))
    }

    /// Means `[N, F, 1, 1]` to logits `[N, K]`.
    pub(super) fn classify(&self, means: &Tensor) -> Tensor {
        means.flatten(1, -1).linear(&self.fc_weight, Some(&self.fc_bias))
    }

    /// Names of the blurred layers.
    pub fn blurred_layers(&self) -> Vec<&str> {
        let branches = self.blocks.iter().flat_map(|b| b.branch.iter().chain(&b.shortcut));
        let convs = std::iter::once(&self.stem).chain(branches).map(|(conv, _)| conv);
        let pool = self.pool_blur.map(|_| "maxpool");
        convs.filter_map(Conv::blurred_name).chain(pool).collect()
    }

    /// Parameters and buffers.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
}

impl Residual {
    /// `[N, C, H, W]` to `[N, C', H / stride, W / stride]`.
    fn forward(&self, x: Tensor, mode: Mode) -> Tensor {
        let mut y = match (self.drop, mode) {
            (None, _) => self.branch(&x, mode),
            (Some((_, rate)), Mode::Eval) => self.branch(&x, mode) * (1.0 - rate),
            (Some((DropBy::Sample, rate)), Mode::Train) => {
                let draws = Tensor::rand([x.size()[0], 1, 1, 1], (Kind::Float, x.device()));
                let y = self.branch(&x, mode);
                let stays = draws.ge(rate).to_kind(y.kind());
                y * stays
            }
            (Some((DropBy::Block, rate)), Mode::Train) => {
                // Drawn on the CPU, whose random state is the same on all ranks: they must drop the
                // same branches, or their gradients would belong to different networks.
                let draw = Tensor::rand([], (Kind::Double, Device::Cpu)).double_value(&[]);
                if draw < rate {
                    return (self.beside(x, mode) + self.nothing()).relu_();
                }
                self.branch(&x, mode)
            }
        };
        y += self.beside(x, mode);
        y.relu_()
    }

    /// The shortcut, to which the branch is added.
    fn beside(&self, x: Tensor, mode: Mode) -> Tensor {
        match &self.shortcut {
            Some((conv, bn)) => bn.forward(&conv.forward(&x), mode),
            None => x,
        }
    }

    fn branch(&self, x: &Tensor, mode: Mode) -> Tensor {
        let (last, inner) = self.branch.split_last().expect("a block has convolutions");
        let mut y = x.shallow_clone();
        for (conv, bn) in inner {
            y = bn.forward(&conv.forward(&y), mode).relu_();
        }
        last.1.forward(&last.0.forward(&y), mode)
    }

    /// A zero, `[]`, that gives each weight of the branch a zero gradient, because the reducer
    /// waits for all gradients.
    fn nothing(&self) -> Tensor {
        let weights = self.branch.iter().flat_map(|(conv, bn)| conv.weights().chain(bn.weights()));
        let zeros = weights.map(|weight| weight.sum(weight.kind()) * 0.0);
        zeros.reduce(|a, b| a + b).expect("a branch has weights")
    }
}

struct Builder<'a> {
    spec: &'a ModelSpec,
    weights: &'a mut Weights,
}

impl Builder<'_> {
    /// All residual blocks, and the output channels of the last one.
    fn stages(&mut self, stem_width: i64) -> (Vec<Residual>, i64) {
        let mut blocks = Vec::new();
        let mut channels = stem_width;
        for (stage, &depth) in self.spec.depths.iter().enumerate() {
            let width = stem_width << stage;
            for block in 0..depth {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                let (residual, outputs) =
                    self.block(&name, blocks.len(), [channels, width, stride]);
                blocks.push(residual);
                channels = outputs;
            }
        }
        (blocks, channels)
    }

    fn block(
        &mut self,
        name: &str,
        number: usize,
        [inputs, width, stride]: [i64; 3],
    ) -> (Residual, i64) {
        let shapes = match self.spec.block {
            Block::Basic => vec![[inputs, width, 3, stride], [width, width, 3, 1]],
            Block::Bottleneck => {
                vec![[inputs, width, 1, 1], [width, width, 3, stride], [width, 4 * width, 1, 1]]
            }
        };
        let outputs = shapes[shapes.len() - 1][1];
        let mut conv_bn = |conv: &str, bn: &str, [inputs, outputs, kernel, stride]: [i64; 4]| {
            let shape = ConvShape { inputs, outputs, kernel, stride };
            self.conv_bn(&format!("{name}.{conv}"), &format!("{name}.{bn}"), shape)
        };
        let branch = (1..)
            .zip(shapes)
            .map(|(i, shape)| conv_bn(&format!("conv{i}"), &format!("bn{i}"), shape))
            .collect();
        let shortcut = (stride != 1 || inputs != outputs)
            .then(|| conv_bn("downsample.0", "downsample.1", [inputs, outputs, 1, stride]));
        let drops = self.spec.branch_drop.as_ref();
        let drop = drops.map(|drops| (drops.by, drops.rates[number]));
        (Residual { branch, shortcut, drop }, outputs)
    }

    fn conv_bn(&mut self, conv: &str, bn: &str, shape: ConvShape) -> (Conv, BatchNorm) {
        let blur = self.spec.blur.as_ref().filter(|blur| {
            blur.convs && shape.stride > 1 && shape.inputs >= blur.min_channels as i64
        });
        let mut conv = Conv::new(self.weights, conv, shape, blur.map(|b| b.order));
        let excitation = self.spec.excitation.as_ref();
        let latent = excitation.and_then(|it| it.latent(shape.inputs as u64, shape.outputs as u64));
        if let Some(latent) = latent {
            conv = conv.excited(self.weights, latent as i64);
        }
        (conv, BatchNorm::new(self.weights, bn, shape.outputs, self.spec))
    }
}
