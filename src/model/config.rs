//! What can be said of a network in a recipe, and the plan it is built from. No tensors here.

use serde::{Deserialize, Serialize};

/// `[model]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152`, or `custom` with
    /// [`CustomConfig`] beside it.
    pub arch: Arch,
    /// Shape of a `custom` network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomConfig>,
    /// Classes; 0 takes as many as the data set has.
    pub num_classes: usize,
    /// Channels that images and the first convolution's weights are padded to with zeros, 3 to 8: some
    /// GPU kernels want multiples of 4. What the network computes stays the same.
    pub input_channels: usize,
    /// Applied in this order to all layers.
    pub initializers: Vec<Initializer>,
    /// Share of the new batch in the running statistics.
    pub bn_momentum: f64,
    /// Added to the variance.
    pub bn_eps: f64,
}

/// Names of the networks, as torchvision has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// `[model.custom]`: a ResNet of any depth and width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomConfig {
    /// Kind of residual block.
    pub block: Block,
    /// Blocks of each stage, one to four stages.
    pub depths: Vec<usize>,
    /// Channels of the stem and of the first stage; each further stage doubles them.
    pub width: usize,
}

/// Kind of residual block (He et al. 2015, figure 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 (which carries the stride: v1.5), 1x1 with four times the channels.
    Bottleneck,
}

/// One rule for first weights; the names are Composer's where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// fc bias -ln(classes): a sigmoid starts at one in as many as there are classes.
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
        }
    }
}

impl ModelConfig {
    /// The plan of the network for `num_classes` classes, before any method changes it.
    pub fn blueprint(&self, num_classes: usize) -> Blueprint {
        let (block, depths, width) = match (self.arch, &self.custom) {
            (Arch::Resnet18, _) => (Block::Basic, vec![2, 2, 2, 2], 64),
            (Arch::Resnet34, _) => (Block::Basic, vec![3, 4, 6, 3], 64),
            (Arch::Resnet101, _) => (Block::Bottleneck, vec![3, 4, 23, 3], 64),
            (Arch::Resnet152, _) => (Block::Bottleneck, vec![3, 8, 36, 3], 64),
            (Arch::Custom, Some(c)) => (c.block, c.depths.clone(), c.width),
            (Arch::Resnet50 | Arch::Custom, _) => (Block::Bottleneck, vec![3, 4, 6, 3], 64),
        };
        Blueprint {
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
        }
    }
}

/// What a network is built from. Methods that change the architecture change this, before
/// anything is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Blueprint {
    /// Kind of residual block.
    pub block: Block,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Channels of the stem and of the first stage.
    pub width: usize,
    /// Classes.
    pub num_classes: usize,
    /// Channels that images are padded to; 3 for none.
    pub input_channels: usize,
    /// Share of the new batch in the running statistics.
    pub bn_momentum: f64,
    /// Added to the variance.
    pub bn_eps: f64,
    /// Anti-aliased downsampling, where it is on.
    pub blur: Option<Blur>,
    /// Residual branches left out at random, where that is on.
    pub branch_drop: Option<BranchDrop>,
    /// Images that batch norm takes its statistics over; absent: the batch of a rank.
    pub ghost_batch_size: Option<usize>,
}

/// How residual branches are left out in training (Huang et al. 2016).
#[derive(Clone, Debug, PartialEq)]
pub struct BranchDrop {
    /// What a draw decides on.
    pub by: DropBy,
    /// Probability of each block, from the first.
    pub rates: Vec<f64>,
}

/// What a draw decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropBy {
    /// The branch, for the whole batch, alike on all ranks.
    Block,
    /// The branch, for one image.
    Sample,
}

impl Blueprint {
    /// Multiplications (each with an addition) of one forward pass over an image of `side` px:
    /// convolutions and the last layer.
    pub fn macs(&self, side: usize) -> u64 {
        let half = |side: u64| side.div_ceil(2);
        let width = self.width as u64;
        let mut side = half(side as u64);
        let mut macs = 3 * 49 * width * side * side;
        side = half(side);
        let mut inputs = width;
        for (stage, &depth) in self.depths.iter().enumerate() {
            let width = width << stage;
            for block in 0..depth {
                let strided = stage > 0 && block == 0;
                let before = side * side;
                side = if strided { half(side) } else { side };
                let after = side * side;
                let (outputs, branch) = match self.block {
                    Block::Basic => (width, 9 * width * (inputs + width) * after),
                    Block::Bottleneck => {
                        let (first, last) = (inputs * width * before, 4 * width * width * after);
                        (4 * width, first + 9 * width * width * after + last)
                    }
                };
                let shortcut =
                    if strided || inputs != outputs { inputs * outputs * after } else { 0 };
                macs += branch + shortcut;
                inputs = outputs;
            }
        }
        macs + inputs * self.num_classes as u64
    }
}

/// Where strided layers low-pass filter first (Zhang 2019, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blur {
    /// Strided convolutions blur.
    pub convs: bool,
    /// The max-pool takes its maximum at stride 1 and then blurs.
    pub maxpools: bool,
    /// The blur stands in front of the strided convolution, else behind it at stride 1.
    pub order: BlurOrder,
    /// Convolutions with fewer channels in are left as they are.
    pub min_channels: usize,
}

/// Which comes first where a convolution is blurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlurOrder {
    /// Blur at stride 1, then the strided convolution.
    BlurFirst,
    /// Convolution at stride 1, then blur with the stride.
    ConvFirst,
}
