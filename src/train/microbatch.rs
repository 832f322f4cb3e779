//! `train.microbatch = "auto"`: warm-up finds how many images the memory of all ranks holds.

use super::{engine::StepEngine, error::TrainError, error::unwound};
use crate::recipe::{Microbatch, halved};
use tch::Tensor;

/// What libtorch's message says where memory lacks.
const OUT_OF_MEMORY: &str = "out of memory";

impl StepEngine {
    /// Halves the microbatch until every rank holds a forward and backward pass of the largest images,
    /// and fixes it in the recipe. Returns a message if it is smaller than the batch.
    pub(super) fn fit_microbatch(&mut self) -> Result<Option<String>, TrainError> {
        if self.recipe.train.microbatch != Some(Microbatch::Auto) {
            return Ok(None);
        }
        self.fit_microbatch_by(Self::try_microbatch)
    }

    /// The same with `try_pass`, which computes a pass of the microbatch.
    pub(super) fn fit_microbatch_by(
        &mut self,
        mut try_pass: impl FnMut(&mut Self) -> Result<(), TrainError>,
    ) -> Result<Option<String>, TrainError> {
        let batch = self.recipe.batch_per_rank;
        let mut images = batch;
        loop {
            self.recipe.train.microbatch = Some(Microbatch::Images(images));
            let pass = try_pass(self);
            self.optimizer.drop_grads()?;
            let (lacks, failure) = match pass {
                Ok(()) => (false, None),
                Err(error) if error.to_string().contains(OUT_OF_MEMORY) => (true, Some(error)),
                Err(error) => return Err(error),
            };
            let num_lacking = Tensor::from(i64::from(lacks));
            self.ddp.sum(&num_lacking)?;
            if i64::try_from(&num_lacking).expect("one number") == 0 {
                break;
            }
            let Some(half) = halved(batch, images) else {
                return Err(failure.unwrap_or_else(|| {
                    TrainError::Unavailable("another rank lacks memory for one image".to_owned())
                }));
            };
            images = half;
        }
        let message = format!(
            "gradients of {batch} images a rank are accumulated over {} microbatches of {images}, which fit \
             the memory (train.microbatch = \"auto\")",
            batch / images
        );
        Ok((images < batch).then_some(message))
    }

    /// A pass on the largest images without the other ranks, which may have more memory left.
    fn try_microbatch(&mut self) -> Result<(), TrainError> {
        let sizes = self.recipe.image_sizes.iter().enumerate();
        let (epoch, _) = sizes.max_by_key(|(_, size)| **size).expect("a run has an epoch");
        // No layer is frozen, as in the epoch that takes the most memory.
        self.progress.epoch = epoch;
        unwound(|| {
            let crop_size = self.recipe.crop_sizes[epoch];
            let device_batch = self.uploader.synthetic(self.recipe.batch_per_rank, crop_size)?;
            let batch = self.train_batch(&device_batch);
            let num = self.recipe.microbatch() as i64;
            let loss = self.accumulate(&batch.part(0, num), num)?;
            // A kernel that lacks memory for its workspace may say so only now.
            let _ = f64::try_from(&loss);
            Ok(())
        })
    }
}
