//! Numbers for tests, the same in every run. All tests of a process share torch's generator, so they
//! would disturb each other with it.

use std::cell::Cell;

use tch::{Device, Kind, Tensor};

thread_local! {
    static SEED: Cell<f64> = const { Cell::new(0.0) };
}

/// Restarts the sequence of this thread's test.
pub(crate) fn restart() {
    SEED.set(0.0);
}

/// Numbers in [0, 1), fp64, different in each call.
pub(crate) fn uniform(sizes: &[i64]) -> Tensor {
    let seed = SEED.get() + 1.0;
    SEED.set(seed);
    let num = sizes.iter().product::<i64>();
    let places = Tensor::arange(num, (Kind::Double, Device::Cpu));
    ((places * 12.9898 + seed * 78.233).sin() * 43_758.545_3).frac().abs().view(sizes)
}

/// Numbers with mean 0 and standard deviation 1, fp64, different in each call.
pub(crate) fn normal(sizes: &[i64]) -> Tensor {
    (uniform(sizes) + uniform(sizes) + uniform(sizes) - 1.5) * 2.0
}
