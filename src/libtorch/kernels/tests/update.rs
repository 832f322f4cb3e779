//! Updates on fused kernels against the same updates by libtorch.

use super::*;
use crate::libtorch::{LarsStep, Moments, Params, SgdStep, StepNow};

/// More tensors than a launch takes, one of several chunks in channels last, and one of zeros.
fn parameters(kind: Kind, device: Device) -> Vec<Tensor> {
    noise::restart();
    let small = (0..120).map(|i| noise::normal(&[1 + i % 7, 1 + i % 3]));
    let large = noise::normal(&[70, 8, 8, 6]).permute([0, 3, 1, 2]);
    let all = small.chain([large, Tensor::zeros([5], (Kind::Double, Device::Cpu))]);
    all.map(|tensor| tensor.to_kind(kind).to_device(device).set_requires_grad(true)).collect()
}

/// Computes the gradients of `step`.
fn backward(parameters: &[Tensor], step: i64) {
    let loss = |t: &Tensor| (t.square() * 0.3 + (t * step).sin()).sum(t.kind());
    parameters.iter().map(loss).reduce(|a, b| a + b).expect("parameters").backward();
}

/// Weights and momenta after five steps, the third of which is skipped.
fn trained(
    (kind, device): (Kind, Device),
    kernels: Option<&Kernels>,
    update: impl Fn(&mut Params, &StepNow) -> Result<(), BridgeError>,
) -> Vec<Tensor> {
    let parameters = parameters(kind, device);
    let mut params = Params::new(&parameters, Moments::One).expect("parameters");
    for step in 0..5 {
        backward(&parameters, step);
        // libtorch's kernels take a rate of any kind on the processor, and fp32 on a GPU.
        let lr = Tensor::from(0.1 / (1 + step) as f64).to_device(device);
        let lr = if device.is_cuda() { lr.to_kind(Kind::Float) } else { lr };
        let found_inf = Tensor::from_slice(&[if step == 2 { 1.0_f32 } else { 0.0 }]);
        let found_inf = found_inf.to_device(device);
        let now = StepNow { lr: &lr, found_inf: Some(&found_inf), kernels };
        update(&mut params, &now).expect("an update");
        params.drop_grads().expect("gradients");
    }
    let weights = parameters.iter().map(Tensor::detach);
    weights.chain(params.state().expect("momenta")).collect()
}

fn assert_equal_updates(
    name: &str,
    update: impl Fn(&mut Params, &StepNow) -> Result<(), BridgeError>,
) {
    for (storage, tolerance) in [(Storage::Fp64, 1e-12), (Storage::Bf16, 1e-5)] {
        let kernels = kernels_and_shapes(storage).0;
        let place = (storage.arithmetic(), kernels.device);
        let fused = trained(place, Some(&kernels), &update);
        let plain = trained(place, None, &update);
        for (i, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
            let error = relative_error(fused, &plain.to_kind(Kind::Double));
            assert!(error < tolerance, "{name}, {storage:?}, tensor {i}: {error:e}");
        }
        let start = parameters(place.0, place.1);
        assert!(relative_error(&fused[0], &start[0].to_kind(Kind::Double)) > 1e-3, "{name}");
    }
}

#[test]
fn fused_sgd_equals_libtorchs() {
    let plain =
        SgdStep { momentum: 0.9, weight_decay: 5e-3, dampening: 0.0, shrink: 0.0, nesterov: 0 };
    assert_equal_updates("coupled decay", |params, now| params.sgd(&plain, now));
    let nesterov = SgdStep { nesterov: 1, ..plain };
    assert_equal_updates("Nesterov", |params, now| params.sgd(&nesterov, now));
    let decoupled = SgdStep { weight_decay: 0.0, shrink: 0.05, ..plain };
    assert_equal_updates("decoupled decay", |params, now| params.sgd(&decoupled, now));
}

#[test]
fn fused_lars_equals_libtorchs() {
    let lars = LarsStep {
        momentum: 0.9,
        weight_decay: 5e-3,
        eta: 0.1,
        epsilon: 1e-6,
        trusted: 1,
        lr_inside: 0,
    };
    for (trusted, lr_inside) in [(1, 0), (1, 1), (0, 0), (0, 1)] {
        let lars = LarsStep { trusted, lr_inside, ..lars };
        assert_equal_updates(&format!("{lars:?}"), |params, now| params.lars(&lars, now));
    }
}
