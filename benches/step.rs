//! The training step alone: forward, backward and update of ResNet-50 on one synthetic batch.
//! `scripts/bench/step` compares it with Python's, `scripts/bench/blurpool` with the step that has
//! BlurPool. Prints the seconds of each timed step, one per line.

use std::time::Instant;

use mlperf_run::{
    algorithms::{BlurPool, Method},
    libtorch::{Autocast, HalfKind, set_channels_last},
    model::{Mode, ModelConfig, Place, ResNet, init},
    optim::{LossName, Optimizer, OptimizerConfig, mean_loss},
};
use tch::{Device, Kind, Tensor};

/// Untimed steps, which allocate memory and choose kernels.
const WARM_UP: usize = 2;

fn main() {
    let number = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (batch, image_size) = (number("BENCH_BATCH", 32) as i64, number("BENCH_SIDE", 128) as i64);
    let half = std::env::var("BENCH_PRECISION").is_ok_and(|name| name == "amp_bf16");
    tch::manual_seed(1);
    let config = ModelConfig::default();
    let place = Place { kind: Kind::Float, device: Device::Cpu };
    let mut spec = config.spec(1000);
    if std::env::var_os("BENCH_BLURPOOL").is_some() {
        BlurPool::default().change_model(&mut spec);
    }
    let net = ResNet::new(&spec, place);
    init(net.weights(), &config.initializers);
    for (_, tensor) in net.weights().parameters().iter().filter(|(_, tensor)| tensor.dim() == 4) {
        set_channels_last(tensor).expect("a weight of four dimensions");
    }
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), net.weights().parameters())
        .expect("parameters of one device and kind");
    let images = Tensor::randn([batch, image_size, image_size, 3], (Kind::Float, Device::Cpu));
    let images = images.permute([0, 3, 1, 2]);
    let targets = Tensor::full([batch, 1000], 0.001, (Kind::Float, Device::Cpu));
    for step in 0..WARM_UP + number("BENCH_STEPS", 3) {
        let start = Instant::now();
        let logits = {
            let _autocast = half.then(|| Autocast::enter(Device::Cpu, HalfKind::Bf16));
            net.forward(&images, Mode::Train)
        };
        let loss = mean_loss(LossName::SoftCrossEntropy, &logits, &targets);
        loss.backward();
        optimizer.set_lr(0.01);
        optimizer.step().expect("every parameter has a gradient");
        if step >= WARM_UP {
            mlperf_run::console::result(start.elapsed().as_secs_f64());
        }
    }
}
