//! Shapes, names, first weights and whole forward and backward passes of the networks.

use std::collections::BTreeMap;

use mlperf_run::{
    algorithms::{BlurPool, Method, Spread, SqueezeExcite},
    model::{
        Arch, BlurOrder, Initializer, Mode, ModelConfig, ModelSpec, Place, ResNet, blur,
        blurred_conv, init, max_pool,
    },
    optim::{LossName, mean_loss},
};
use serde_json::Value;
use tch::{Device, Kind, Tensor, no_grad};

use super::{
    read,
    tensors::{deviation, hash_fill, shape, tensor},
};

const FLOAT: Place = Place { kind: Kind::Float, device: Device::Cpu };
const DOUBLE: Place = Place { kind: Kind::Double, device: Device::Cpu };

fn spec(arch: &str, num_classes: usize) -> ModelSpec {
    let arch: Arch = serde_json::from_value(Value::from(arch)).unwrap();
    ModelConfig { arch, ..ModelConfig::default() }.spec(num_classes)
}

/// Name and shape of each, with batch norm's counter, which torchvision lists after the variance.
fn listed<'a>(named: impl Iterator<Item = &'a (String, Tensor)>) -> Vec<(String, Vec<i64>)> {
    let mut all = Vec::new();
    for (name, tensor) in named {
        all.push((name.clone(), tensor.size()));
        if let Some(bn) = name.strip_suffix(".running_var") {
            all.push((format!("{bn}.num_batches_tracked"), Vec::new()));
        }
    }
    all
}

#[test]
fn names_and_shapes_are_torchvisions() {
    let golden = read("resnet_shapes");
    for (arch, lists) in golden["full"].as_object().unwrap() {
        let net = ResNet::new(&spec(arch, 1000), FLOAT);
        let wanted = |key: &str| -> Vec<(String, Vec<i64>)> {
            let rows = lists[key].as_array().unwrap().iter();
            rows.map(|row| (row[0].as_str().unwrap().to_owned(), shape(&row[1]))).collect()
        };
        assert_eq!(listed(net.weights().parameters().iter()), wanted("parameters"), "{arch}");
        assert_eq!(listed(net.weights().buffers().iter()), wanted("buffers"), "{arch}");
    }
}

#[test]
fn multiplications_of_a_forward_pass_agree() {
    for (image_size, macs) in read("resnet_shapes")["resnet50_macs"].as_object().unwrap() {
        let found = spec("resnet50", 1000).macs(image_size.parse().unwrap());
        assert_eq!(Value::from(found), *macs, "{image_size} px");
    }
}

#[test]
fn counts_of_all_five_networks_agree() {
    let golden = read("resnet_shapes");
    for (name, counts) in golden["summary"].as_object().unwrap() {
        let (arch, classes) = name.split_once('/').unwrap();
        let net = ResNet::new(&spec(arch, classes.parse().unwrap()), FLOAT);
        let weights = net.weights();
        let bn = weights.parameters().iter().filter(|(n, t)| t.dim() == 1 && !n.starts_with("fc"));
        let bn: usize = bn.map(|(_, t)| t.numel()).sum();
        assert_eq!(weights.num_parameters() as u64, counts["params"], "{name}");
        assert_eq!(weights.parameters().len() as u64, counts["tensors"], "{name}");
        assert_eq!(listed(weights.buffers().iter()).len() as u64, counts["buffers"], "{name}");
        assert_eq!(bn as u64, counts["bn_params"], "{name}");
    }
}

/// Weights of the golden file: convolutions and fc scaled to their fan-in, batch norm near one.
fn fill(net: &ResNet, salt: u32) {
    no_grad(|| {
        for (p, (name, tensor)) in net.weights().parameters().iter().enumerate() {
            let size = tensor.size();
            let v = hash_fill(p as u32, salt, &size);
            let fan_in = tensor.numel() as f64 / size[0] as f64;
            let value = match size.len() {
                2.. => v * (12f64.sqrt() * (2.0 / fan_in).sqrt()),
                _ if name.ends_with(".weight") => v * 0.4 + 0.5,
                _ => v * 0.2,
            };
            tensor.shallow_clone().copy_(&value);
        }
        for (i, (name, tensor)) in net.weights().buffers().iter().enumerate() {
            let v = hash_fill(5000 + i as u32 / 2, salt, &tensor.size());
            let value = if name.ends_with("mean") { v * 0.2 } else { v * 0.5 + 1.0 };
            tensor.shallow_clone().copy_(&value);
        }
    });
}

#[test]
fn forward_and_backward_of_whole_networks_agree_in_double() {
    for case in read("resnet_forward")["cases"].as_array().unwrap() {
        let mut spec = spec_of(case);
        if case["blurpool"].as_bool().unwrap() {
            BlurPool::default().change_model(&mut spec);
        }
        check_passes(&spec, case);
    }
}

#[test]
fn squeeze_and_excitation_agrees_with_pytorch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/squeeze_excite.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let mut spec = spec_of(case);
        let latent_channels = case["latent_channels"].as_f64().unwrap();
        let min_channels = case["min_channels"].as_u64().unwrap() as usize;
        SqueezeExcite { latent_channels, min_channels }.change_model(&mut spec);
        let net = check_passes(&spec, case);
        let names = case["grad_l2_norms"].as_array().unwrap().iter().map(|row| &row[0]);
        assert!(net.weights().parameters().iter().map(|(name, _)| name).eq(names), "order");
        let num_excited = net.weights().parameters().iter().filter(|(n, _)| n.contains(".se.fc1."));
        assert_eq!(spec.num_excited(), num_excited.count());
        assert_eq!(spec.num_weights()[0], case["num_parameters"]);
    }
}

fn spec_of(case: &Value) -> ModelSpec {
    spec(case["model"].as_str().unwrap(), case["num_classes"].as_u64().unwrap() as usize)
}

/// Compares evaluation, loss, gradients and statistics of the network of `spec`.
fn check_passes(spec: &ModelSpec, case: &Value) -> ResNet {
    let arch = case["model"].as_str().unwrap();
    let salt = case["salt"].as_u64().unwrap() as u32;
    let net = ResNet::new(spec, DOUBLE);
    fill(&net, salt);
    let images = hash_fill(9999, salt, &shape(&case["input_shape"])) * 4.0;
    let logits = net.forward(&images, Mode::Eval);
    assert!(deviation(&logits, &tensor(&case["eval_logits"])) < 1e-7, "{arch} eval");

    let logits = net.forward(&images, Mode::Train);
    assert!(deviation(&logits, &tensor(&case["train_logits"])) < 1e-7, "{arch} train");
    let labels = Tensor::from_slice(&shape(&case["labels"]));
    let smoothing = case["smoothing"].as_f64().unwrap();
    // Targets are fp32 in training; doubles here, so that the loss is exact.
    let targets = Spread::All.targets(&labels, smoothing, (spec.num_classes, Kind::Double));
    let loss = match case["loss"].as_str().unwrap() {
        "bce" => LossName::BinaryCrossEntropyWithLogits,
        _ => LossName::SoftCrossEntropy,
    };
    let loss = mean_loss(loss, &logits, &targets);
    let wanted = case["loss_value"].as_f64().unwrap();
    assert!((f64::try_from(&loss).unwrap() - wanted).abs() < 1e-9, "{arch} loss");
    loss.backward();
    check_gradients(&net, case);
    check_statistics(&net, case);
    net
}

fn check_gradients(net: &ResNet, case: &Value) {
    for row in case["grad_l2_norms"].as_array().unwrap() {
        // Composer calls the weight of a blurred convolution NAME.conv.weight.
        let name = row[0].as_str().unwrap().replace(".conv.weight", ".weight");
        let wanted = row[1].as_f64().unwrap();
        let norm = f64::try_from(net.weights().get(&name).unwrap().grad().norm()).unwrap();
        assert!((norm - wanted).abs() <= 1e-7 * (1.0 + wanted), "{name}: {norm} {wanted}");
    }
}

fn check_statistics(net: &ResNet, case: &Value) {
    for (key, wanted) in case["after_train_forward"].as_object().unwrap() {
        let Some((name, count)) = key.split_once("[:") else { continue };
        let count: i64 = count.trim_end_matches(']').parse().unwrap();
        let found = net.weights().get(name).unwrap().narrow(0, 0, count);
        assert!(deviation(&found, &tensor(wanted)) < 1e-9, "{key}");
    }
}

#[test]
fn blur_pooling_agrees_with_its_gradients() {
    let golden = read("blurpool");
    let mut seen = BTreeMap::<String, usize>::new();
    for case in golden["cases"].as_array().unwrap() {
        let op = case["op"].as_str().unwrap();
        *seen.entry(op.to_owned()).or_default() += 1;
        let x = tensor(&case["input"]).reshape(shape(&case["input_shape"])).set_requires_grad(true);
        let stride = case["stride"].as_i64().unwrap_or(2);
        let order = match case["blur_first"].as_bool() {
            Some(false) => BlurOrder::ConvFirst,
            _ => BlurOrder::BlurFirst,
        };
        let y = match op {
            "blur_2d" => blur(&x, stride),
            "BlurMaxPool2d" => max_pool(&x, Some(order)),
            "BlurConv2d" => blurred_conv(&x, &tensor(&case["weight"]), stride, order),
            other => panic!("no such operation here: {other}"),
        };
        let wanted = tensor(&case["output"]).reshape(shape(&case["output_shape"]));
        assert!(deviation(&y, &wanted) < 1e-9, "{case}");
        if let Some(grad) = case.get("grad_output") {
            (y * tensor(grad).reshape(wanted.size())).sum(Kind::Double).backward();
            let wanted = tensor(&case["grad_input"]).reshape(x.size());
            assert!(deviation(&x.grad(), &wanted) < 1e-9, "{case}");
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn blur_stands_where_composer_puts_it() {
    for (arch, modules) in read("blurpool")["replaced_modules"].as_object().unwrap() {
        let mut spec = spec(arch, 10);
        BlurPool::default().change_model(&mut spec);
        let mut wanted: Vec<&str> =
            modules.as_object().unwrap().keys().map(String::as_str).collect();
        wanted.sort_unstable();
        let net = ResNet::new(&spec, FLOAT);
        let mut found = net.blurred_layers();
        found.sort_unstable();
        assert_eq!(found, wanted, "{arch}");
    }
}

#[test]
fn first_weights_follow_composers_distributions() {
    let golden = read("init");
    tch::manual_seed(7);
    let net = ResNet::new(&spec("resnet50", 1000), FLOAT);
    init(net.weights(), &[Initializer::KaimingNormal, Initializer::BnUniform]);
    for distribution in golden["resnet50"].as_array().unwrap() {
        let name = distribution["name"].as_str().unwrap();
        check_distribution(distribution, net.weights().get(name).unwrap());
    }
}

/// Five standard errors around the mean and the spread of the distribution.
fn check_distribution(distribution: &Value, found: &Tensor) {
    let number = |key: &str| distribution[key].as_f64().unwrap();
    assert_eq!(found.numel() as u64, distribution["numel"], "{distribution}");
    let n = found.numel() as f64;
    let mean = f64::try_from(found.mean(Kind::Double)).unwrap();
    let (mu, sigma) = match distribution["dist"].as_str().unwrap() {
        "normal" => (number("mean"), number("std")),
        "uniform" => {
            let (low, high) = (number("low"), number("high"));
            let (min, max) = (found.min(), found.max());
            assert!(f64::try_from(min).unwrap() >= low - 1e-7, "{distribution}");
            assert!(f64::try_from(max).unwrap() <= high + 1e-7, "{distribution}");
            (f64::midpoint(low, high), (high - low) / 12f64.sqrt())
        }
        "constant" => {
            let value = number("value");
            assert!(f64::try_from((found - value).abs().max()).unwrap() == 0.0, "{distribution}");
            return;
        }
        other => panic!("no such distribution here: {other}"),
    };
    let std = f64::try_from(found.std(true)).unwrap();
    assert!((mean - mu).abs() < 5.0 * sigma / n.sqrt(), "{distribution}: mean {mean}");
    assert!((std - sigma).abs() < 5.0 * sigma / n.sqrt(), "{distribution}: std {std}");
}

#[test]
fn log_constant_bias_is_exact() {
    for row in read("init")["linear_log_constant_bias"].as_array().unwrap() {
        let classes = row["num_classes"].as_u64().unwrap() as usize;
        let net = ResNet::new(&spec("resnet18", classes), FLOAT);
        init(net.weights(), &[Initializer::LinearLogConstantBias]);
        let bias = net.weights().get("fc.bias").unwrap();
        let wanted = row["bias_float32"].as_f64().unwrap();
        assert!(f64::try_from((bias - wanted).abs().max()).unwrap() <= 1e-6, "{row}");
    }
}
