//! Names and shapes of a network's tensors, for programs without libtorch.

use super::config::{Block, ModelSpec};
use crate::tensor_name::{is_in_module, layer_of};

/// The name and the shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorShape {
    /// torchvision's name.
    pub name: String,
    /// Length of each dimension.
    pub shape: Vec<usize>,
}

impl ModelSpec {
    /// Parameters and running statistics, layer by layer.
    pub fn tensor_shapes(&self) -> Vec<TensorShape> {
        let mut list = List { spec: self, shapes: Vec::new() };
        list.conv_bn(["conv1", "bn1"], [3, self.width, 7]);
        let mut channels = self.width;
        for (stage, &depth) in self.depths.iter().enumerate() {
            let width = self.width << stage;
            for block in 0..depth {
                let name = format!("layer{}.{block}", stage + 1);
                let outputs = list.branch(&name, [channels, width]);
                if channels != outputs || (stage > 0 && block == 0) {
                    let names = [format!("{name}.downsample.0"), format!("{name}.downsample.1")];
                    list.conv_bn([&names[0], &names[1]], [channels, outputs, 1]);
                }
                channels = outputs;
            }
        }
        list.add("fc.weight", &[self.num_classes, channels]);
        list.add("fc.bias", &[self.num_classes]);
        list.shapes
    }

    /// Convolutions, batch norms and linear layers.
    pub fn num_layers(&self) -> usize {
        let shapes = self.tensor_shapes();
        shapes.chunk_by(|a, b| layer_of(&a.name) == layer_of(&b.name)).count()
    }

    /// Whether the network has a layer, a block or a stage called `module`.
    pub fn has_module(&self, module: &str) -> bool {
        self.tensor_shapes().iter().any(|tensor| is_in_module(&tensor.name, module))
    }
}

struct List<'a> {
    spec: &'a ModelSpec,
    shapes: Vec<TensorShape>,
}

impl List<'_> {
    fn add(&mut self, name: &str, shape: &[usize]) {
        self.shapes.push(TensorShape { name: name.to_owned(), shape: shape.to_owned() });
    }

    fn conv_bn(&mut self, [conv, bn]: [&str; 2], [inputs, outputs, kernel]: [usize; 3]) {
        self.add(&format!("{conv}.weight"), &[outputs, inputs, kernel, kernel]);
        let excitation = self.spec.excitation.as_ref();
        if let Some(latent) = excitation.and_then(|it| it.latent(inputs as u64, outputs as u64)) {
            self.add(&format!("{conv}.se.fc1.weight"), &[latent as usize, outputs]);
            self.add(&format!("{conv}.se.fc2.weight"), &[outputs, latent as usize]);
        }
        for tensor in ["weight", "bias", "running_mean", "running_var"] {
            self.add(&format!("{bn}.{tensor}"), &[outputs]);
        }
    }

    /// The branch of a residual block. Returns its output channels.
    fn branch(&mut self, name: &str, [inputs, width]: [usize; 2]) -> usize {
        let convs = match self.spec.block {
            Block::Basic => vec![[inputs, width, 3], [width, width, 3]],
            Block::Bottleneck => vec![[inputs, width, 1], [width, width, 3], [width, 4 * width, 1]],
        };
        for (number, conv) in (1..).zip(&convs) {
            let names = [format!("{name}.conv{number}"), format!("{name}.bn{number}")];
            self.conv_bn([&names[0], &names[1]], *conv);
        }
        convs.last().map_or(inputs, |conv| conv[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Arch, CustomConfig, Excitation, ModelConfig};

    fn specs() -> Vec<ModelSpec> {
        let custom = |block, depths, width| ModelConfig {
            arch: Arch::Custom,
            custom: Some(CustomConfig { block, depths, width }),
            ..ModelConfig::default()
        };
        let excitation = Some(Excitation { latent_channels: 0.25, min_channels: 8 });
        let mut specs = [
            ModelConfig::default(),
            ModelConfig { arch: Arch::Resnet18, ..ModelConfig::default() },
            custom(Block::Basic, vec![1, 2], 8),
            custom(Block::Bottleneck, vec![2, 1, 1], 4),
        ]
        .map(|config| config.spec(7))
        .to_vec();
        specs.push(ModelSpec { excitation, ..specs[2].clone() });
        specs
    }

    #[test]
    fn the_numbers_of_weights_are_those_of_the_specification() {
        for spec in specs() {
            let (mut weights, mut statistics) = (0, 0);
            for TensorShape { name, shape } in spec.tensor_shapes() {
                let num: usize = shape.iter().product();
                *(if name.contains("running_") { &mut statistics } else { &mut weights }) +=
                    num as u64;
            }
            assert_eq!([weights, statistics], spec.num_weights());
        }
    }

    #[cfg(feature = "torch")]
    #[test]
    fn the_shapes_are_those_of_the_network() {
        use crate::model::{Place, ResNet};

        let place = Place { kind: tch::Kind::Float, device: tch::Device::Cpu };
        for spec in specs() {
            let model = ResNet::new(&spec, place);
            let mut found: Vec<_> = model
                .weights()
                .all()
                .map(|(name, tensor)| {
                    let shape = tensor.size().iter().map(|&n| n as usize).collect();
                    TensorShape { name: name.clone(), shape }
                })
                .collect();
            let mut shapes = spec.tensor_shapes();
            for list in [&mut found, &mut shapes] {
                list.sort_by(|a, b| a.name.cmp(&b.name));
            }
            assert_eq!(found, shapes);
        }
    }

    #[test]
    fn modules_are_layers_blocks_and_stages() {
        let spec = ModelConfig::default().spec(5);
        for module in ["conv1", "layer1", "layer4.2", "layer2.0.downsample.1", "fc"] {
            assert!(spec.has_module(module), "{module}");
        }
        for module in ["layer5", "layer1.3", "fc.weight", "conv"] {
            assert!(!spec.has_module(module), "{module}");
        }
    }
}
