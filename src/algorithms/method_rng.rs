//! Random numbers of the methods. They are keyed by seed, rank and step, so that a step draws the
//! same numbers whatever was drawn before it.

use tch::Tensor;

use super::algorithm::{Batch, MethodContext, Progress};
use crate::data::Rng;

/// The random numbers of one method.
#[derive(Clone, Copy, Debug)]
pub(super) struct MethodRng {
    method: u64,
    seed: u64,
    rank: u64,
}

impl MethodRng {
    /// `method` is a number that no other method has, so that methods draw independently.
    pub(super) fn new(method: u64, context: &MethodContext) -> Self {
        Self { method, seed: context.seed, rank: context.rank as u64 }
    }

    /// The generator of the step that begins.
    pub(super) fn at(&self, now: Progress) -> Rng {
        Rng::keyed(&[self.method, self.seed, self.rank, now.step as u64])
    }
}

/// A random order of 0..n.
pub(super) fn order(rng: &mut Rng, n: usize) -> Vec<i64> {
    let mut order: Vec<i64> = (0..n as i64).collect();
    rng.shuffle(&mut order);
    order
}

/// A random order of the samples of `batch`, int64 `[N]`, on their device.
pub(super) fn batch_order(rng: &mut Rng, batch: &Batch) -> Tensor {
    let order = order(rng, batch.labels.size()[0] as usize);
    Tensor::from_slice(&order).to_device(batch.images.device())
}

/// A number from Beta(a, a) by Jöhnk's method (1964), in logarithms, so that a small `a` does not
/// underflow.
pub(super) fn beta(rng: &mut Rng, a: f64) -> f64 {
    loop {
        // 1 - u is never 0.
        let [x, y] = [(); 2].map(|()| (1.0 - rng.uniform_f64()).ln() / a);
        let peak = x.max(y);
        let sum = (x - peak).exp() + (y - peak).exp();
        if peak + sum.ln() <= 0.0 {
            return (x - peak).exp() / sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_has_its_mean_and_variance() {
        for a in [0.05, 0.2, 1.0, 2.0] {
            let mut rng = Rng::keyed(&[1]);
            let draws: Vec<f64> = (0..20_000).map(|_| beta(&mut rng, a)).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let square = |x: &f64| (x - mean) * (x - mean);
            let variance = draws.iter().map(square).sum::<f64>() / draws.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * a + 1.0));
            assert!((mean - 0.5).abs() < 0.015, "{a}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.04, "{a}: variance {variance}");
        }
    }

    #[test]
    fn an_order_holds_every_number_once() {
        let mut numbers = order(&mut Rng::keyed(&[2]), 50);
        assert_ne!(numbers, (0..50).collect::<Vec<i64>>());
        numbers.sort_unstable();
        assert_eq!(numbers, (0..50).collect::<Vec<i64>>());
    }
}
