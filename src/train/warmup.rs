//! What can be done before the clock starts: choose kernels, allocate memory, assign gradients to
//! buckets, capture steps. It uses synthetic images only. Afterwards every weight, buffer, momentum
//! and random state is what it was, bit for bit.

use tch::Tensor;

use super::{
    engine::{StepEngine, algorithms},
    error::TrainError,
    statistics::Statistics,
};
use crate::{
    algorithms::Progress,
    libtorch::{self, BridgeError},
};

/// The reducer assigns its buckets before the second step.
const NUM_STEPS: usize = 3;

impl StepEngine {
    /// Trains on synthetic images of every size of the run, evaluates some, captures the steps where
    /// that is possible, and restores all state. Returns messages about fused kernels and CUDA graphs
    /// that the recipe asks for and cannot have, or not in full.
    pub fn warm_up(&mut self) -> Result<Vec<String>, TrainError> {
        let on_device = self.model.weights().parameters()[0].1.shallow_clone();
        let on_host = Tensor::from(0.0);
        let weights = self.model.weights().snapshot();
        let momenta = self.optimizer.snapshot()?;
        let scale = self.scaler.snapshot();
        let random = libtorch::rng_state(&on_device)?;
        let host_random = libtorch::rng_state(&on_host)?;
        let not_fused = self.fuse()?;
        let accumulated = self.fit_microbatch()?;

        for epoch in first_epochs_of_sizes(&self.recipe.image_sizes) {
            self.enter_epoch(epoch)?;
            for _ in 0..NUM_STEPS {
                self.warm_step()?;
            }
            self.warm_statistics()?;
        }
        self.warm_evaluation()?;
        let not_captured = [self.capture_steps()?, self.capture_evaluation()];

        self.model.weights().restore(&weights);
        self.optimizer.restore(&momenta)?;
        self.scaler.restore(&scale);
        libtorch::set_rng_state(&on_device, &random)?;
        libtorch::set_rng_state(&on_host, &host_random)?;
        self.algorithms = algorithms(&self.recipe, self.world.rank, self.eval_weights.trained())?;
        self.enter_epoch(0)?;
        self.progress = Progress::default();
        self.ddp.barrier()?;
        Ok([not_fused, accumulated].into_iter().chain(not_captured).flatten().collect())
    }

    /// Takes the statistics of grey images of the current epoch's size, if the run will take any.
    fn warm_statistics(&self) -> Result<(), BridgeError> {
        let swa = self.recipe.algorithms.swa.as_ref();
        if swa.is_none_or(|swa| swa.bn_steps(&self.recipe.run_length) == 0) {
            return Ok(());
        }
        let image_size = self.recipe.crop_sizes[self.progress.epoch];
        let device_batch = self.uploader.synthetic(self.recipe.batch_per_rank, image_size)?;
        self.add_statistics(&mut Statistics::of(&self.model)?, &device_batch)
    }

    /// Evaluates grey images in batches of each size that this rank has.
    pub(super) fn warm_evaluation(&self) -> Result<(), BridgeError> {
        for num in self.eval_batch_sizes() {
            let image_size = self.recipe.data.eval.crop_size;
            self.evaluate(&self.uploader.synthetic(num, image_size)?)?;
        }
        Ok(())
    }

    /// A step on grey images of the current epoch's size.
    pub(super) fn warm_step(&mut self) -> Result<(), TrainError> {
        let image_size = self.recipe.crop_sizes[self.progress.epoch];
        let device_batch = self.uploader.synthetic(self.recipe.batch_per_rank, image_size)?;
        drop(self.step(&device_batch)?);
        Ok(())
    }
}

/// The first epoch, from 0, of each image size of the run.
fn first_epochs_of_sizes(image_sizes: &[usize]) -> Vec<usize> {
    (0..image_sizes.len())
        .filter(|&epoch| !image_sizes[..epoch].contains(&image_sizes[epoch]))
        .collect()
}
