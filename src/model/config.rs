//! The `[model]` configuration and the specification from which a network is built. No tensors
//! here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::excitation::Excitation;

/// `[model]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152`, or `custom` together with
    /// `[model.custom]`.
    pub arch: Arch,
    /// Shape of a `custom` network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomConfig>,
    /// Number of classes; 0 means the data set's.
    pub num_classes: usize,
    /// Zero-pads the channels of images and of the first convolution's weights to this number, 3 to
    /// 8, because some GPU kernels require multiples of 4. The result stays the same.
    pub input_channels: usize,
    /// Initializers, applied in this order to all layers.
    pub initializers: Vec<Initializer>,
    /// Weight of the new batch in the running statistics.
    pub bn_momentum: f64,
    /// Added to the variance.
    pub bn_eps: f64,
    /// Start from the weights in this file of safetensors: of torchvision, timm or an earlier run. A relative
    /// path starts at the current folder. The last layer is new if the number of classes differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Layers, blocks or stages that stay as they are: `["conv1", "bn1", "layer1"]`. Their batch norm uses
    /// and keeps its running statistics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
}

/// Network names, as in torchvision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 18 layers, basic blocks.
    Resnet18,
    /// 34 layers, basic blocks.
    Resnet34,
    /// 50 layers, bottleneck blocks.
    Resnet50,
    /// 101 layers, bottleneck blocks.
    Resnet101,
    /// 152 layers, bottleneck blocks.
    Resnet152,
    /// Any depth and width.
    Custom,
}

impl Arch {
    /// The networks of fixed depth and width.
    pub const NAMED: [Self; 5] =
        [Self::Resnet18, Self::Resnet34, Self::Resnet50, Self::Resnet101, Self::Resnet152];
}

/// `[model.custom]`: a ResNet of any depth and width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomConfig {
    /// Kind of residual block.
    pub block: Block,
    /// Number of blocks per stage, one to four stages.
    pub depths: Vec<usize>,
    /// Channels of the stem and the first stage; each further stage doubles them.
    pub width: usize,
}

/// Kind of residual block (He et al. 2015, figure 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 (which carries the stride: v1.5), 1x1 with four times the channels.
    Bottleneck,
}

/// One initialization rule. Rules that Composer has too have Composer's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Initializer {
    /// Convolution and fc weights ~ N(0, 2 / `fan_in`).
    KaimingNormal,
    /// Convolution weights ~ N(0, 2 / `fan_out`), torchvision's default.
    KaimingNormalFanOut,
    /// Batch-norm weights ~ U[0, 1), biases 0.
    BnUniform,
    /// Batch-norm weights 1, biases 0.
    BnOnes,
    /// The last batch-norm weight of every residual branch 0 (Goyal et al. 2017, section 5.1).
    ZeroInitLastGamma,
    /// fc bias -ln(classes), so that a sigmoid starts at about 1 / classes.
    LinearLogConstantBias,
    /// fc weights ~ N(0, 0.01).
    #[serde(rename = "fc_normal_0.01")]
    FcNormal001,
    /// fc bias 0.
    BiasZeros,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            arch: Arch::Resnet50,
            custom: None,
            num_classes: 0,
            input_channels: 3,
            initializers: vec![Initializer::KaimingNormal, Initializer::BnUniform],
            bn_momentum: 0.1,
            bn_eps: 1e-5,
            weights: None,
            freeze: Vec::new(),
        }
    }
}

impl ModelConfig {
    /// The specification of the network for `num_classes` classes, before any method changes it.
    pub fn spec(&self, num_classes: usize) -> ModelSpec {
        let (block, depths, width) = match (self.arch, &self.custom) {
            (Arch::Resnet18, _) => (Block::Basic, vec![2, 2, 2, 2], 64),
            (Arch::Resnet34, _) => (Block::Basic, vec![3, 4, 6, 3], 64),
            (Arch::Resnet101, _) => (Block::Bottleneck, vec![3, 4, 23, 3], 64),
            (Arch::Resnet152, _) => (Block::Bottleneck, vec![3, 8, 36, 3], 64),
            (Arch::Custom, Some(c)) => (c.block, c.depths.clone(), c.width),
            (Arch::Resnet50 | Arch::Custom, _) => (Block::Bottleneck, vec![3, 4, 6, 3], 64),
        };
        ModelSpec {
            block,
            depths,
            width,
            num_classes,
            input_channels: self.input_channels,
            bn_momentum: self.bn_momentum,
            bn_eps: self.bn_eps,
            blur: None,
            branch_drop: None,
            ghost_batch_size: None,
            frozen: self.freeze.clone(),
            excitation: None,
        }
    }
}

/// The specification from which a network is built. Methods that change the architecture change
/// this first.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Kind of residual block.
    pub block: Block,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Channels of the stem and of the first stage.
    pub width: usize,
    /// Classes.
    pub num_classes: usize,
    /// Channels to which images are padded; 3 means no padding.
    pub input_channels: usize,
    /// Weight of the new batch in the running statistics.
    pub bn_momentum: f64,
    /// Added to the variance.
    pub bn_eps: f64,
    /// Anti-aliased downsampling (`BlurPool`), if enabled.
    pub blur: Option<Blur>,
    /// Stochastic depth, if enabled.
    pub branch_drop: Option<BranchDrop>,
    /// Images over which batch norm computes its statistics; if absent, the rank's batch.
    pub ghost_batch_size: Option<usize>,
    /// Layers, blocks or stages that are not trained.
    pub frozen: Vec<String>,
    /// Squeeze-and-excitation, if enabled.
    pub excitation: Option<Excitation>,
}

/// How residual branches are dropped in training (Huang et al. 2016).
#[derive(Clone, Debug, PartialEq)]
pub struct BranchDrop {
    /// What is dropped at random.
    pub by: DropBy,
    /// Drop probability of each block, from the first.
    pub rates: Vec<f64>,
}

/// What one random draw drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropBy {
    /// The branch for the whole batch, the same on all ranks.
    Block,
    /// The branch for one image.
    Sample,
}

/// One convolution of a network, for some image size.
pub(super) struct Conv {
    kernel: u64,
    inputs: u64,
    outputs: u64,
    /// Output pixels.
    area: u64,
    /// Hidden channels of the squeeze-and-excitation after it, 0 for none.
    pub(super) latent: u64,
}

impl Conv {
    /// Weights of the squeeze-and-excitation after it, each used once an image.
    fn excitation_weights(&self) -> u64 {
        2 * self.outputs * self.latent
    }
}

impl ModelSpec {
    /// Multiply-accumulates of one forward pass over an image of `image_size` px, for convolutions
    /// and the fully connected layer.
    pub fn macs(&self, image_size: usize) -> u64 {
        let convs = self.convs(image_size);
        let features = convs.last().map_or(0, |conv| conv.outputs);
        let macs =
            |c: &Conv| c.kernel * c.kernel * c.inputs * c.outputs * c.area + c.excitation_weights();
        convs.iter().map(macs).sum::<u64>() + features * self.num_classes as u64
    }

    /// Output values of convolutions, of the norms after them, and of squeeze-and-excitation between
    /// them, in one forward pass over an image of `image_size` px.
    pub fn activations(&self, image_size: usize) -> u64 {
        let outputs = |conv: &Conv| conv.outputs * conv.area * (2 + u64::from(conv.latent > 0));
        self.convs(image_size).iter().map(outputs).sum()
    }

    /// Numbers of weights, and of running statistics of norms.
    pub fn num_weights(&self) -> [u64; 2] {
        let convs = self.convs(1);
        let features = convs.last().map_or(0, |conv| conv.outputs);
        let norms: u64 = convs.iter().map(|conv| 2 * conv.outputs).sum();
        let kernel = |c: &Conv| c.kernel * c.kernel * c.inputs * c.outputs + c.excitation_weights();
        let kernels: u64 = convs.iter().map(kernel).sum();
        [kernels + norms + (features + 1) * self.num_classes as u64, norms]
    }

    /// Output values of the first convolution for an image of `image_size` px.
    pub fn first_outputs(&self, image_size: usize) -> u64 {
        self.convs(image_size).first().map_or(0, |conv| conv.outputs * conv.area)
    }

    /// In the order of the forward pass; the last one precedes the fully connected layer.
    pub(super) fn convs(&self, image_size: usize) -> Vec<Conv> {
        let half = |image_size: u64| image_size.div_ceil(2);
        let conv = |kernel, [inputs, outputs]: [u64; 2], image_size: u64| Conv {
            kernel,
            inputs,
            outputs,
            area: image_size * image_size,
            latent: self.excitation.as_ref().and_then(|it| it.latent(inputs, outputs)).unwrap_or(0),
        };
        let mut inputs = self.width as u64;
        let mut image_size = half(image_size as u64);
        let mut convs = vec![conv(7, [3, inputs], image_size)];
        image_size = half(image_size);
        for (stage, &depth) in self.depths.iter().enumerate() {
            let width = (self.width as u64) << stage;
            for block in 0..depth {
                let before = image_size;
                if stage > 0 && block == 0 {
                    image_size = half(image_size);
                }
                let outputs = match self.block {
                    Block::Basic => width,
                    Block::Bottleneck => 4 * width,
                };
                if before != image_size || inputs != outputs {
                    convs.push(conv(1, [inputs, outputs], image_size));
                }
                convs.extend(match self.block {
                    Block::Basic => {
                        vec![
                            conv(3, [inputs, width], image_size),
                            conv(3, [width, outputs], image_size),
                        ]
                    }
                    Block::Bottleneck => vec![
                        conv(1, [inputs, width], before),
                        conv(3, [width, width], image_size),
                        conv(1, [width, outputs], image_size),
                    ],
                });
                inputs = outputs;
            }
        }
        convs
    }
}

/// Where strided layers apply a low-pass filter first (Zhang 2019, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blur {
    /// Blur strided convolutions.
    pub convs: bool,
    /// Compute the max-pool at stride 1, then blur.
    pub maxpools: bool,
    /// Whether the blur precedes the strided convolution or follows it at stride 1.
    pub order: BlurOrder,
    /// Convolutions with fewer input channels are not blurred.
    pub min_channels: usize,
}

/// The order of blur and convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlurOrder {
    /// Blur at stride 1, then the strided convolution.
    BlurFirst,
    /// Convolution at stride 1, then blur with the stride.
    ConvFirst,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published for torchvision's networks: 4.09 and 1.81 billion multiply-accumulates; 11.1 and
    /// 2.5 million convolution outputs; 25.6 and 11.7 million weights.
    #[test]
    fn work_matches_the_published_numbers() {
        for (arch, macs, outputs, num_weights) in [
            (Arch::Resnet50, 4.09e9, 11.1e6, 25_557_032),
            (Arch::Resnet18, 1.81e9, 2.5e6, 11_689_512),
        ] {
            let spec = ModelConfig { arch, ..ModelConfig::default() }.spec(1000);
            assert!((spec.macs(224) as f64 / macs - 1.0).abs() < 0.01, "{arch:?}");
            assert_eq!(spec.num_weights()[0], num_weights, "{arch:?}");
            let found = spec.activations(224) as f64 / 2.0;
            assert!((found / outputs - 1.0).abs() < 0.02, "{arch:?}: {found}");
        }
    }
}
