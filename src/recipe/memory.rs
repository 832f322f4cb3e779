//! The memory of a GPU that a run needs, predicted before it.
//!
//! ```text
//! bytes = state + reserve + max(batch activations(size), eval_batch evaluation(eval_size))
//! ```
//!
//! - `state`: weights, gradients and each number of the optimizer's state in the weights' format, the
//!   weights in half precision, the averages that are evaluated, and a copy of all, which warm-up and
//!   checkpoints take.
//! - `activations`: of each convolution its output and that of the norm after it, in the format of
//!   training, and the images. Backward needs both; all other results of forward are short-lived.
//!   `batch` is the microbatch, if there is one.
//! - `evaluation`: ten times the first convolution's output, fitted to one measured peak.
//! - `reserve`: CUDA, cuDNN's workspaces and the allocator's losses, 1.5 GB, assumed.
//!
//! `ResNet-50`, 256 images, bf16, on an H100: 13.5 GB were measured at 224 px on libtorch's kernels (13.8
//! predicted) and 10.2 GB at 88 px, where evaluation needs most (10.7). A prototype of the fused kernels
//! took 10.6 GB at 224 px, and 16.9 GB for 400 images (20.3). So expect the prediction to be up to a third
//! too high, and rarely too low; how much cuDNN takes on other cards has not been measured.

use super::{config::Precision, resolved::Recipe};
use crate::optim::OptimizerName;

/// For CUDA, cuDNN and the allocator, bytes.
const RESERVE: f64 = 1.5e9;
/// Batches of uint8 images on the device: the ring of the loader, and one for a graph.
const NUM_IMAGE_COPIES: f64 = 4.0;
/// Peak of a forward pass, in outputs of the first convolution.
const EVAL_OUTPUTS: f64 = 10.0;

/// The memory that a rank of a recipe needs on its GPU, bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuMemory {
    /// Weights, in training and half precision, and gradients.
    pub weights: f64,
    /// State of the optimizer.
    pub momenta: f64,
    /// Averages of weights, and the weights that evaluation puts aside.
    pub averages: f64,
    /// A copy of weights, momenta and averages.
    pub copies: f64,
    /// Assumed for everything else.
    pub reserve: f64,
    /// An image in training, by image size, px, from the smallest.
    pub by_size: Vec<(usize, f64)>,
    /// All images of an evaluation step.
    pub evaluation: f64,
}

impl GpuMemory {
    /// The memory for `recipe`.
    pub fn of(recipe: &Recipe) -> Self {
        let (weight, half, activation) = match recipe.train.precision {
            Precision::Fp64 => (8.0, 0.0, 8.0),
            Precision::Fp32 => (4.0, 0.0, 4.0),
            Precision::AmpBf16 | Precision::AmpFp16 => (4.0, 2.0, 2.0),
        };
        let [weights, statistics] = recipe.spec.num_weights().map(|num| num as f64);
        let network = weight * (weights + statistics);
        let num_moments = match recipe.optimizer.name {
            OptimizerName::Sgd | OptimizerName::DecoupledSgdw | OptimizerName::Lars => 1.0,
            // With the directions that fused kernels write.
            OptimizerName::Adamw | OptimizerName::DecoupledAdamw | OptimizerName::Muon => 2.0,
            OptimizerName::Lamb => 3.0,
        };
        let has_average = recipe.algorithms.ema.is_some() || recipe.algorithms.swa.is_some();
        let momenta = num_moments * weight * weights;
        let averages = if has_average { 2.0 * network } else { 0.0 };
        let image = |size: usize| {
            let pixels = (3 * size * size) as f64;
            activation * recipe.spec.activations(size) as f64 + pixels * (NUM_IMAGE_COPIES + weight)
        };
        let mut sizes = recipe.image_sizes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        let eval_bytes = if recipe.train.precision == Precision::Fp64 { 8.0 } else { 4.0 };
        let outputs = recipe.spec.first_outputs(recipe.data.eval.crop_size) as f64;
        Self {
            weights: network + (half + weight) * weights,
            momenta,
            averages,
            copies: network + momenta + averages,
            reserve: RESERVE,
            by_size: sizes.into_iter().map(|size| (size, image(size))).collect(),
            evaluation: EVAL_OUTPUTS * eval_bytes * outputs * recipe.eval_batch_per_rank as f64,
        }
    }

    /// What does not depend on the batch.
    pub fn fixed(&self) -> f64 {
        self.weights + self.momenta + self.averages + self.copies + self.reserve
    }

    /// With `batch` images of a rank, `per_image` bytes each.
    pub fn total(&self, batch: usize, per_image: f64) -> f64 {
        self.fixed() + (batch as f64 * per_image).max(self.evaluation)
    }

    /// Most images of a rank in a training step of `per_image` bytes each, in `limit` bytes.
    pub fn largest_batch(&self, limit: f64, per_image: f64) -> usize {
        ((limit - self.fixed()) / per_image).max(0.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{IMAGENET, find, load};

    fn memory(name: &str, overrides: &[&str]) -> GpuMemory {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        let file = load(&find(name).unwrap(), &overrides).unwrap();
        GpuMemory::of(&Recipe::resolve(file, &IMAGENET).unwrap())
    }

    /// Peaks of an H100 with 256 images of one rank, but for the third with 400.
    #[test]
    fn the_measured_peaks_are_predicted_within_a_quarter_and_not_from_below() {
        let bf16 = ["train.precision=amp_bf16"];
        let full = memory("baseline-1gpu", &bf16);
        let small = memory("optimized-1gpu", &bf16);
        let largest =
            |memory: &GpuMemory, batch| memory.total(batch, memory.by_size.last().unwrap().1);
        for (what, predicted, measured, most) in [
            ("224 px", largest(&full, 256), 13.5e9, 1.1),
            ("88 px", small.total(256, small.by_size[0].1), 10.2e9, 1.1),
            ("224 px, fused", largest(&full, 400), 16.9e9, 1.25),
        ] {
            let ratio = predicted / measured;
            assert!((1.0..most).contains(&ratio), "{what}: {predicted} {measured}");
        }
    }

    #[test]
    fn the_largest_batch_fits_and_one_more_image_does_not() {
        let memory = memory("baseline-1gpu", &["train.precision=amp_fp16"]);
        let per_image = memory.by_size[0].1;
        let batch = memory.largest_batch(24e9, per_image);
        assert!(memory.total(batch, per_image) <= 24e9);
        assert!(memory.total(batch + 1, per_image) > 24e9);
        assert_eq!(memory.largest_batch(1e9, per_image), 0);
    }

    #[test]
    fn state_grows_with_the_rule_and_the_averages() {
        let plain = memory("baseline-1gpu", &["optimizer.name=sgd"]);
        let lamb = memory("baseline-1gpu", &["optimizer.name=lamb"]);
        let averaged = memory("baseline-1gpu", &["algorithms.ema=true"]);
        assert!((lamb.momenta / plain.momenta - 3.0).abs() < 1e-9);
        // Two averages of 25.6 million weights and their statistics, 4 bytes each.
        let grown = averaged.averages - plain.averages;
        assert!((grown / (2.0 * 4.0 * 25.6e6) - 1.0).abs() < 0.01, "{grown}");
    }
}
