//! Batch norm's statistics for averaged weights.
//!
//! The statistics of the weights that are averaged do not fit their average. So the averaged network reads
//! training images without learning, and each statistic becomes its mean over these batches, as in torch's
//! `swa_utils.update_bn`. Batch norm keeps its momentum: a pass that starts from zeros leaves a known fraction
//! of the batch's statistics, so that neither the layers nor the fused kernels need another mode.

use tch::no_grad;

use super::{batch::DeviceBatch, engine::StepEngine, error::TrainError};
use crate::{
    libtorch::{BridgeError, TensorList},
    model::{Mode, ModelSpec, ResNet},
};

/// Means of a network's statistics over batches.
pub(super) struct Statistics {
    /// The network's own, without those of frozen layers.
    running: TensorList,
    zeros: TensorList,
    mean: TensorList,
    num_batches: usize,
}

impl Statistics {
    /// Of no batch yet.
    pub(super) fn of(model: &ResNet) -> Result<Self, BridgeError> {
        let running = TensorList::new(model.weights().moving_buffers().map(|(_, tensor)| tensor))?;
        let zeros = running.duplicate()?;
        zeros.tensors().iter_mut().for_each(|tensor| drop(tensor.zero_()));
        Ok(Self { running, mean: zeros.duplicate()?, zeros, num_batches: 0 })
    }
}

impl StepEngine {
    /// Steps whose images the statistics of the weights to evaluate are retaken from; 0 where the weights
    /// have their own.
    pub(super) fn num_statistics_steps(&self) -> usize {
        let swa = self.recipe.algorithms.swa.as_ref();
        let averaged = swa.filter(|_| self.algorithms.eval_weights().is_some());
        let averaged = averaged.filter(|_| self.model.weights().moving_buffers().next().is_some());
        averaged.map_or(0, |swa| swa.bn_steps(&self.recipe.run_length))
    }

    /// Adds those of `device_batch` with the weights in the network. Each microbatch counts as a batch.
    pub(super) fn add_statistics(
        &self,
        statistics: &mut Statistics,
        device_batch: &DeviceBatch,
    ) -> Result<(), BridgeError> {
        let images = self.train_batch(device_batch).images;
        for images in images.split(self.recipe.microbatch() as i64, 0) {
            statistics.running.copy_from(&statistics.zeros)?;
            drop(no_grad(|| self.forward.logits(&self.model, &images, Mode::Train))?);
            let replaced = fraction_replaced(&self.recipe.spec, images.size()[0] as usize);
            // From `replaced` times the batch's statistics to these.
            statistics.running.lerp(&statistics.zeros, 1.0 - 1.0 / replaced)?;
            statistics.num_batches += 1;
            let weight = 1.0 / statistics.num_batches as f64;
            statistics.mean.lerp(&statistics.running, weight)?;
        }
        Ok(())
    }

    /// Puts the means over all ranks into the network, and into the average that it was given.
    pub(super) fn set_statistics(&mut self, statistics: &Statistics) -> Result<(), TrainError> {
        self.ddp.mean(&statistics.mean.tensors())?;
        statistics.running.copy_from(&statistics.mean)?;
        match self.algorithms.average_mut() {
            Some(average) => Ok(average.weights.copy_from(self.eval_weights.trained())?),
            None => Ok(()),
        }
    }
}

/// The fraction of running statistics that a training pass over `num` images replaces.
fn fraction_replaced(spec: &ModelSpec, num: usize) -> f64 {
    let num_parts = spec.ghost_batch_size.map_or(1, |size| num.div_ceil(size));
    1.0 - (1.0 - spec.bn_momentum).powf(num_parts as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;

    #[test]
    fn each_ghost_batch_replaces_its_part() {
        let plain = ModelConfig::default().spec(10);
        assert!((fraction_replaced(&plain, 5) - 0.1).abs() < 1e-12);
        let ghost = ModelSpec { ghost_batch_size: Some(2), ..plain };
        assert!((fraction_replaced(&ghost, 5) - (1.0 - 0.9 * 0.9 * 0.9)).abs() < 1e-12);
    }
}
