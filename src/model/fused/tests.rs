//! Fused networks on emulated kernels against the same networks on libtorch's kernels, in fp64.

use std::sync::Arc;

use tch::{Device, Kind, Tensor, no_grad};

use super::*;
use crate::{
    libtorch::{kernels::Storage, noise, set_channels_last},
    model::{Block, Blur, BlurOrder, ModelConfig, ModelSpec, Place, ResNet},
};

fn spec(block: Block, blur: Option<Blur>) -> ModelSpec {
    let spec = ModelConfig::default().spec(5);
    ModelSpec { block, depths: vec![2, 2, 1], width: 8, blur, ..spec }
}

fn blur() -> Blur {
    Blur { order: BlurOrder::BlurFirst, convs: true, maxpools: true, min_channels: 8 }
}

/// Two equal networks with channels-last weights.
fn pair(spec: &ModelSpec) -> [ResNet; 2] {
    let place = Place { kind: Kind::Double, device: Device::Cpu };
    let nets = [(); 2].map(|()| ResNet::new(spec, place));
    noise::restart();
    for (name, tensor) in nets[0].weights().parameters() {
        let size = tensor.size();
        let numbers = match size.iter().skip(1).product::<i64>() {
            1 if name.ends_with("bias") => noise::uniform(&size) - 0.5,
            1 => noise::uniform(&size) + 0.5,
            fan_in => noise::normal(&size) * (2.0 / fan_in as f64).sqrt(),
        };
        no_grad(|| tensor.shallow_clone().copy_(&numbers));
    }
    nets[1].weights().restore(&nets[0].weights().snapshot());
    for net in &nets {
        for (_, weight) in net.weights().parameters().iter().filter(|(_, t)| t.dim() == 4) {
            set_channels_last(weight).unwrap();
        }
    }
    nets
}

fn images() -> Tensor {
    let images = noise::normal(&[3, 3, 37, 30]);
    set_channels_last(&images).unwrap();
    images
}

fn assert_close(name: &str, fused: &Tensor, plain: &Tensor) {
    let norm = |t: &Tensor| t.norm().double_value(&[]);
    let error = norm(&(fused - plain)) / norm(plain).max(1e-12);
    assert!(error < 1e-10, "{name}: relative error {error:e}");
}

/// Trains one step on both and compares logits, gradients, buffers, and then logits of evaluation.
fn assert_equal_networks(spec: &ModelSpec) {
    let [plain, fused] = pair(spec);
    let (images, labels) = (images(), Tensor::from_slice(&[0_i64, 4, 2]));
    let kernels = Arc::new(Kernels::emulated(Storage::Fp64));

    let expected = plain.forward(&images, Mode::Train);
    expected.cross_entropy_for_logits(&labels).backward();
    let logits = fused.forward_fused(&images, Mode::Train, &kernels).unwrap();
    logits.cross_entropy_for_logits(&labels).backward();

    assert_close("logits", &logits, &expected);
    let parameters = fused.weights().parameters().iter().zip(plain.weights().parameters());
    for ((name, fused), (_, plain)) in parameters {
        assert_close(name, &fused.grad(), &plain.grad());
    }
    for ((name, fused), (_, plain)) in
        fused.weights().buffers().iter().zip(plain.weights().buffers())
    {
        assert_close(name, fused, plain);
    }
    no_grad(|| {
        let logits = fused.forward_fused(&images, Mode::Eval, &kernels).unwrap();
        assert_close("evaluation", &logits, &plain.forward(&images, Mode::Eval));
    });
}

#[test]
fn a_bottleneck_network_equals_autograd() {
    assert_equal_networks(&spec(Block::Bottleneck, None));
}

#[test]
fn a_bottleneck_network_with_blur_equals_autograd() {
    assert_equal_networks(&spec(Block::Bottleneck, Some(blur())));
}

#[test]
fn a_basic_network_equals_autograd() {
    assert_equal_networks(&spec(Block::Basic, None));
}

#[test]
fn a_basic_network_with_blur_and_padded_images_equals_autograd() {
    let spec = ModelSpec { input_channels: 4, ..spec(Block::Basic, Some(blur())) };
    assert_equal_networks(&spec);
}
