//! The peak rates of a device, measured, to compare a step with.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::step::kind;
use crate::recipe::Precision;

/// Repetitions, of which the best counts.
const TRIES: usize = 5;

/// Peak rates of arithmetic and of memory.
pub(super) struct Ceilings {
    /// Of a product of two square matrices, TFLOP/s.
    pub(super) matmul_tflops: f64,
    /// Of a copy of a large tensor, read and written bytes together, GB/s.
    pub(super) copy_gb_s: f64,
}

impl Ceilings {
    pub(super) fn measure(precision: Precision, device: Device) -> Self {
        // Large enough to fill the device, and small enough to take about a second.
        let (n, megabytes) = match device {
            Device::Cuda(_) => (8192, 1024),
            _ => (1024, 128),
        };
        let kind = match precision {
            Precision::Fp32 | Precision::Fp64 => kind(precision),
            Precision::AmpBf16 => Kind::BFloat16,
            Precision::AmpFp16 => Kind::Half,
        };
        // A product of ones would take less power and let a device run faster.
        let [a, b] = [(); 2].map(|()| Tensor::randn([n, n], (kind, device)));
        let from = Tensor::ones([megabytes * 1_000_000], (Kind::Uint8, device));
        let to = from.zeros_like();
        let matmul_s = best_s(device, || drop(a.matmul(&b)));
        let copy_s = best_s(device, || to.shallow_clone().copy_(&from));
        Self {
            matmul_tflops: 2.0 * (n as f64).powi(3) / matmul_s / 1e12,
            copy_gb_s: 2.0 * megabytes as f64 / 1e3 / copy_s,
        }
    }
}

/// The shortest of some tries of `act`, s.
pub(super) fn best_s(device: Device, mut act: impl FnMut()) -> f64 {
    let tries = (0..TRIES).map(|_| {
        let start = Instant::now();
        act();
        finished(device);
        start.elapsed().as_secs_f64()
    });
    tries.fold(f64::INFINITY, f64::min)
}

/// Waits until the device has finished its work.
pub(super) fn finished(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}
