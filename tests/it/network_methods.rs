//! Methods that change the network, held to a network without them that does the same by hand.

use mlperf_run::{
    algorithms::{
        DropDistribution, DropMethod, GhostBatchNorm, Method, SqueezeExcite, StochasticDepth,
    },
    model::{Arch, Block, CustomConfig, Mode, ModelConfig, ModelSpec, Place, ResNet, init},
};
use tch::{Device, Kind, Tensor, no_grad};

fn spec() -> ModelSpec {
    let custom = CustomConfig { block: Block::Bottleneck, depths: vec![1, 2], width: 4 };
    let config = ModelConfig { arch: Arch::Custom, custom: Some(custom), ..ModelConfig::default() };
    config.spec(5)
}

/// The network of `spec`, with the weights of `like` where it is given.
fn network(spec: &ModelSpec, like: Option<&ResNet>) -> ResNet {
    let net = ResNet::new(spec, Place { kind: Kind::Double, device: Device::Cpu });
    match like {
        Some(like) => net.weights().restore(&like.weights().snapshot()),
        None => init(net.weights(), &ModelConfig::default().initializers),
    }
    net
}

fn images(n: i64) -> Tensor {
    Tensor::arange(n * 3 * 24 * 24, (Kind::Double, Device::Cpu)).sin().reshape([n, 3, 24, 24])
}

fn assert_close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.size(), b.size());
    let apart = f64::try_from((a - b).abs().max()).unwrap();
    assert!(apart < 1e-9, "{apart}");
}

/// Scales what the branch of block `i` gives.
fn scale_branches(net: &ResNet, factor: impl Fn(usize) -> f64) {
    let last = |name: &&(String, Tensor)| name.0.contains(".bn3.") && !name.0.contains("running");
    no_grad(|| {
        for (i, (_, tensor)) in net.weights().parameters().iter().filter(last).enumerate() {
            let _ = tensor.shallow_clone().g_mul_scalar_(factor(i / 2));
        }
    });
}

#[test]
fn ghost_batches_are_normalised_one_after_the_other() {
    let plain = network(&spec(), None);
    let mut changed = spec();
    GhostBatchNorm { ghost_batch_size: 3 }.change_model(&mut changed);
    let ghost = network(&changed, Some(&plain));
    let images = images(6);
    let whole = ghost.forward(&images, Mode::Train);
    let parts =
        images.chunk(2, 0).iter().map(|part| plain.forward(part, Mode::Train)).collect::<Vec<_>>();
    assert_close(&whole, &Tensor::cat(&parts, 0));
    for ((_, a), (_, b)) in ghost.weights().buffers().iter().zip(plain.weights().buffers()) {
        assert_close(a, b);
    }
    assert_close(&ghost.forward(&images, Mode::Eval), &plain.forward(&images, Mode::Eval));
}

#[test]
fn a_branch_that_is_left_out_adds_nothing_and_counts_by_its_rate_in_evaluation() {
    for method in [DropMethod::Sample, DropMethod::Block] {
        let plain = network(&spec(), None);
        let mut changed = spec();
        let distribution = DropDistribution::Linear;
        StochasticDepth { method, drop_rate: 0.6, distribution }.change_model(&mut changed);
        let dropped = network(&changed, Some(&plain));
        scale_branches(&plain, |i| 1.0 - 0.6 * (i + 1) as f64 / 3.0);
        let images = images(4);
        assert_close(&dropped.forward(&images, Mode::Eval), &plain.forward(&images, Mode::Eval));

        let always = DropDistribution::Uniform;
        StochasticDepth { method, drop_rate: 1.0, distribution: always }.change_model(&mut changed);
        let dropped = network(&changed, Some(&plain));
        scale_branches(&plain, |_| 0.0);
        let logits = dropped.forward(&images, Mode::Train);
        assert_close(&logits, &plain.forward(&images, Mode::Train));
        logits.sum(Kind::Double).backward();
        let without = |(_, t): &&(String, Tensor)| !t.grad().defined();
        assert_eq!(dropped.weights().parameters().iter().filter(without).count(), 0);
    }
}

#[test]
fn channels_of_zeros_change_nothing() {
    let plain = spec();
    let net = network(&plain, None);
    for input_channels in [4, 8] {
        let padded = network(&ModelSpec { input_channels, ..plain.clone() }, Some(&net));
        assert_eq!(padded.weights().parameters()[0].1.size(), [4, 3, 7, 7], "as in checkpoints");
        let logits = [&net, &padded].map(|net| net.forward(&images(2), Mode::Train));
        assert_close(&logits[0], &logits[1]);
        for net in [&net, &padded] {
            net.forward(&images(2), Mode::Train).square().sum(Kind::Double).backward();
        }
        let first = |net: &ResNet| net.weights().parameters()[0].1.grad();
        assert_close(&first(&net), &first(&padded));
        let mut weight = net.weights().parameters()[0].1.shallow_clone();
        weight.zero_grad();
    }
}

#[test]
fn excitation_keeps_torchs_first_weights_and_a_dropped_branch_still_has_all_gradients() {
    let mut excited = spec();
    SqueezeExcite { latent_channels: 2.0, min_channels: 16 }.change_model(&mut excited);
    let always = DropDistribution::Uniform;
    StochasticDepth { method: DropMethod::Block, drop_rate: 1.0, distribution: always }
        .change_model(&mut excited);
    let net = network(&excited, None);
    let excite: Vec<_> =
        net.weights().parameters().iter().filter(|(n, _)| n.contains(".se.")).collect();
    assert!(!excite.is_empty());
    for (name, weight) in &excite {
        let bound = 1.0 / (weight.size()[1] as f64).sqrt();
        let most = f64::try_from(weight.abs().max()).unwrap();
        assert!(most > 0.5 * bound && most <= bound, "{name}: {most} of {bound}");
    }
    net.forward(&images(4), Mode::Train).sum(Kind::Double).backward();
    let without = |(_, t): &&(String, Tensor)| !t.grad().defined();
    assert_eq!(net.weights().parameters().iter().filter(without).count(), 0);
}
