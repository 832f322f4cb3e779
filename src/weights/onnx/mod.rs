//! Writes a network with its weights as ONNX: from normalized images `[N, 3, H, W]` to logits `[N, K]`,
//! for any number and size of images.

mod proto;

use std::{fs, path::Path};

use prost::Message;
use safetensors::{Dtype, SafeTensors};

use self::proto::{
    Attribute, Dimension, Entry, FLOAT, FLOAT_TENSOR, Graph, INT, INTS, Model, Node, OperatorSet,
    Shape, Tensor, TensorType, Type, ValueInfo,
};
use super::{error::WeightsError, file::WeightsFile, fit::Fit};
use crate::{
    atomic_file,
    model::{Block, BlurOrder, ModelSpec},
};

/// The operators of ONNX 1.12.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;
/// In the names of the weights of squeeze-and-excitation.
const EXCITATION: &str = ".se.";

/// Writes the network of `spec` with the weights of `file` to `path`. `metadata` becomes that of the model.
pub fn write_onnx(
    file: &WeightsFile,
    spec: &ModelSpec,
    metadata: &[(&str, String)],
    path: &Path,
) -> Result<(), WeightsError> {
    let entry =
        |(key, value): &(&str, String)| Entry { key: (*key).to_owned(), value: value.clone() };
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(Graph {
            node: Network::of(spec).nodes,
            name: "ResNet".to_owned(),
            initializer: initializers(file, spec)?,
            input: vec![images()],
            output: vec![value("logits", [named("N"), length(spec.num_classes)])],
        }),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: metadata.iter().map(entry).collect(),
    };
    let written = atomic_file::write(path, &model.encode_to_vec());
    written.map_err(|source| WeightsError::Write { path: path.to_owned(), source })
}

/// The weights under their names in the network.
fn initializers(file: &WeightsFile, spec: &ModelSpec) -> Result<Vec<Tensor>, WeightsError> {
    let path = || file.path.clone();
    let bytes =
        fs::read(&file.path).map_err(|source| WeightsError::Read { path: path(), source })?;
    let damaged = |reason: String| WeightsError::NotSafetensors { path: path(), reason };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let initializer = |[name, in_file]: &[String; 2]| {
        let tensor = tensors.tensor(in_file).map_err(|error| damaged(error.to_string()))?;
        if tensor.dtype() != Dtype::F32 {
            let (name, dtype) = (in_file.clone(), tensor.dtype().to_string());
            return Err(WeightsError::NotFp32 { path: path(), name, dtype });
        }
        Ok(Tensor {
            dims: dims(name, tensor.shape()),
            data_type: FLOAT_TENSOR,
            name: name.clone(),
            raw_data: tensor.data().to_vec(),
        })
    };
    Fit::of(file, spec)?.taken.iter().map(initializer).collect()
}

/// The matrices of squeeze-and-excitation become 1x1 convolutions.
fn dims(name: &str, shape: &[usize]) -> Vec<i64> {
    let ones: &[usize] = if name.contains(EXCITATION) { &[1, 1] } else { &[] };
    shape.iter().chain(ones).map(|&n| n as i64).collect()
}

fn images() -> ValueInfo {
    value("images", [named("N"), length(3), named("H"), named("W")])
}

fn value(name: &str, dim: impl Into<Vec<Dimension>>) -> ValueInfo {
    let shape = Some(Shape { dim: dim.into() });
    let tensor_type = Some(TensorType { elem_type: FLOAT_TENSOR, shape });
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor_type }) }
}

fn named(name: &str) -> Dimension {
    Dimension { dim_value: None, dim_param: Some(name.to_owned()) }
}

fn length(length: usize) -> Dimension {
    Dimension { dim_value: Some(length as i64), dim_param: None }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.to_owned(), f: None, i: Some(i), ints: Vec::new(), kind: INT }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.to_owned(), f: None, i: None, ints: ints.to_owned(), kind: INTS }
}

/// The nodes of a network. Each of its methods adds some and returns the name of their output.
struct Network<'a> {
    spec: &'a ModelSpec,
    nodes: Vec<Node>,
}

impl<'a> Network<'a> {
    fn of(spec: &'a ModelSpec) -> Self {
        let mut network = Self { spec, nodes: Vec::new() };
        let stem = network.conv_bn(["conv1", "bn1"], "images", [3, 7, 2]);
        let stem = network.relu(&stem);
        let mut x = network.max_pool(&stem);
        let mut channels = spec.width;
        let mut number = 0;
        for (stage, &depth) in spec.depths.iter().enumerate() {
            for block in 0..depth {
                let name = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                (x, channels) =
                    network.block(&name, number, x, [channels, spec.width << stage, stride]);
                number += 1;
            }
        }
        let means = network.node("GlobalAveragePool", &[&x], vec![]);
        let features = network.node("Flatten", &[&means], vec![]);
        network.nodes.push(Node {
            input: [&features, "fc.weight", "fc.bias"].map(str::to_owned).to_vec(),
            output: vec!["logits".to_owned()],
            name: "fc".to_owned(),
            op_type: "Gemm".to_owned(),
            attribute: vec![int("transB", 1)],
        });
        network
    }

    fn node(&mut self, op_type: &str, input: &[&str], attribute: Vec<Attribute>) -> String {
        let name = format!("{op_type}_{}", self.nodes.len());
        self.nodes.push(Node {
            input: input.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op_type.to_owned(),
            attribute,
        });
        name
    }

    fn relu(&mut self, x: &str) -> String {
        self.node("Relu", &[x], vec![])
    }

    /// `relu(branch(x) + shortcut(x))`, and its channels.
    fn block(
        &mut self,
        name: &str,
        number: usize,
        x: String,
        [inputs, width, stride]: [usize; 3],
    ) -> (String, usize) {
        let convs = match self.spec.block {
            Block::Basic => vec![[inputs, width, 3, stride], [width, width, 3, 1]],
            Block::Bottleneck => {
                vec![[inputs, width, 1, 1], [width, width, 3, stride], [width, 4 * width, 1, 1]]
            }
        };
        let outputs = convs[convs.len() - 1][1];
        let mut y = x.clone();
        for (i, [inputs, _, kernel, stride]) in convs.iter().copied().enumerate() {
            let names = [format!("{name}.conv{}", i + 1), format!("{name}.bn{}", i + 1)];
            y = self.conv_bn([&names[0], &names[1]], &y, [inputs, kernel, stride]);
            if i + 1 < convs.len() {
                y = self.relu(&y);
            }
        }
        if let Some(drop) = &self.spec.branch_drop {
            y = self.scaled(&y, 1.0 - drop.rates[number]);
        }
        let shortcut = if stride != 1 || inputs != outputs {
            let names = [format!("{name}.downsample.0"), format!("{name}.downsample.1")];
            self.conv_bn([&names[0], &names[1]], &x, [inputs, 1, stride])
        } else {
            x
        };
        let sum = self.node("Add", &[&y, &shortcut], vec![]);
        (self.relu(&sum), outputs)
    }

    fn scaled(&mut self, x: &str, factor: f64) -> String {
        let value = Attribute {
            name: "value_float".to_owned(),
            f: Some(factor as f32),
            i: None,
            ints: Vec::new(),
            kind: FLOAT,
        };
        let factor = self.node("Constant", &[], vec![value]);
        self.node("Mul", &[x, &factor], vec![])
    }

    fn conv_bn(&mut self, [conv, bn]: [&str; 2], x: &str, shape: [usize; 3]) -> String {
        let [inputs, kernel, stride] = shape.map(|n| n as i64);
        let blur = self
            .spec
            .blur
            .as_ref()
            .filter(|blur| blur.convs && stride > 1 && inputs >= blur.min_channels as i64);
        let y = match blur.map(|blur| blur.order) {
            None => self.conv(conv, x, [kernel, stride]),
            Some(BlurOrder::BlurFirst) => {
                let x = self.blur(x, 1);
                self.conv(conv, &x, [kernel, stride])
            }
            Some(BlurOrder::ConvFirst) => {
                let y = self.conv(conv, x, [kernel, 1]);
                self.blur(&y, stride)
            }
        };
        let y = if self.is_excited(conv) { self.excited(conv, &y) } else { y };
        let parameter = |name: &str| format!("{bn}.{name}");
        let [weight, bias, mean, var] =
            ["weight", "bias", "running_mean", "running_var"].map(parameter);
        let epsilon = Attribute {
            name: "epsilon".to_owned(),
            f: Some(self.spec.bn_eps as f32),
            i: None,
            ints: Vec::new(),
            kind: FLOAT,
        };
        self.node("BatchNormalization", &[&y, &weight, &bias, &mean, &var], vec![epsilon])
    }

    fn conv(&mut self, name: &str, x: &str, [kernel, stride]: [i64; 2]) -> String {
        let attributes = vec![
            ints("kernel_shape", &[kernel; 2]),
            ints("pads", &[kernel / 2; 4]),
            ints("strides", &[stride; 2]),
        ];
        self.node("Conv", &[x, &format!("{name}.weight")], attributes)
    }

    fn is_excited(&self, conv: &str) -> bool {
        let prefix = format!("{conv}{EXCITATION}");
        self.spec.tensor_shapes().iter().any(|tensor| tensor.name.starts_with(&prefix))
    }

    fn excited(&mut self, conv: &str, x: &str) -> String {
        let means = self.node("GlobalAveragePool", &[x], vec![]);
        let hidden = self.conv(&format!("{conv}{EXCITATION}fc1"), &means, [1, 1]);
        let hidden = self.relu(&hidden);
        let shares = self.conv(&format!("{conv}{EXCITATION}fc2"), &hidden, [1, 1]);
        let shares = self.node("Sigmoid", &[&shares], vec![]);
        self.node("Mul", &[x, &shares], vec![])
    }

    /// The low-pass filter as two means over 2x2 pixels (`model::blur`).
    fn blur(&mut self, x: &str, stride: i64) -> String {
        let mean = |stride, padding| {
            vec![
                ints("kernel_shape", &[2; 2]),
                ints("pads", &[padding; 4]),
                ints("strides", &[stride; 2]),
                int("count_include_pad", 1),
            ]
        };
        let y = self.node("AveragePool", &[x], mean(1, 1));
        self.node("AveragePool", &[&y], mean(stride, 0))
    }

    fn max_pool(&mut self, x: &str) -> String {
        let is_blurred = self.spec.blur.as_ref().is_some_and(|blur| blur.maxpools);
        let attributes = vec![
            ints("kernel_shape", &[3; 2]),
            ints("pads", &[1; 4]),
            ints("strides", &[if is_blurred { 1 } else { 2 }; 2]),
        ];
        let y = self.node("MaxPool", &[x], attributes);
        if is_blurred { self.blur(&y, 2) } else { y }
    }
}
