//! The training step.
//!
//! `forward_backward_update` is the part that the device computes. It reads nothing from the host,
//! so that a GPU can capture it in a graph (`captured_step`). The host sets what changes from step
//! to step.

use tch::{Device, Kind, Tensor};

use super::{batch::DeviceBatch, engine::StepEngine, error::TrainError};
use crate::{
    algorithms::{Batch, Next},
    libtorch::{Autocast, BridgeError, HalfKind},
    model::Mode,
    optim::{mean_loss, sample_losses},
    recipe::{EpochValues, Precision},
};

/// Kind of weights and images.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Fp64 => Kind::Double,
        Precision::Fp32 | Precision::AmpBf16 | Precision::AmpFp16 => Kind::Float,
    }
}

impl StepEngine {
    /// Makes one update with `device_batch`. Returns the loss, `[]`, on the device; it is valid until
    /// the next step.
    pub(super) fn step(&mut self, device_batch: &DeviceBatch) -> Result<Tensor, TrainError> {
        self.optimizer.set_lr(self.recipe.schedule.lr(self.progress.step));
        self.ddp.before_step()?;
        let loss = match self.captured(device_batch) {
            Some(captured) => self.replay(captured, device_batch)?,
            None => self.forward_backward_update(device_batch)?,
        };
        self.progress.step += 1;
        self.algorithms.after_step(self.progress)?;
        Ok(loss)
    }

    /// Computes the device's part of a step and returns the loss, `[]`.
    pub(super) fn forward_backward_update(
        &mut self,
        device_batch: &DeviceBatch,
    ) -> Result<Tensor, TrainError> {
        let batch = self.apply_methods(self.train_batch(device_batch))?;
        let loss = self.backward(&batch)?;
        while self.algorithms.after_backward(self.progress, &mut self.optimizer)?
            == Next::BackwardAgain
        {
            drop(self.backward(&batch)?);
        }
        self.update()?;
        Ok(loss.detach())
    }

    /// The images of `device_batch` in the size of the current epoch.
    pub(super) fn train_batch(&self, device_batch: &DeviceBatch) -> Batch {
        let image_size = self.recipe.image_sizes[self.progress.epoch];
        self.uploader.batch(device_batch, image_size, self.values().smoothing)
    }

    /// The values of the current epoch.
    pub(super) fn values(&self) -> EpochValues {
        self.recipe.epoch_values[self.progress.epoch]
    }

    /// Updates the weights by the gradients.
    pub(super) fn update(&mut self) -> Result<(), BridgeError> {
        self.optimizer.set_constants(self.values().update);
        self.scaler.step(&mut self.optimizer)
    }

    /// The batch after the methods changed it.
    pub(super) fn apply_methods(&mut self, batch: Batch) -> Result<Batch, BridgeError> {
        let Self { algorithms, model, recipe, forward, progress, .. } = self;
        let losses = |batch: &Batch| {
            let logits = forward.logits(model, &batch.images, Mode::Train)?;
            Ok(sample_losses(recipe.loss.name, &logits, &batch.targets))
        };
        algorithms.before_forward(*progress, batch, &losses)
    }

    /// Computes the all-reduced gradients of `batch`, microbatch by microbatch, and returns its loss,
    /// `[]`. Only the last microbatch waits for other ranks.
    fn backward(&mut self, batch: &Batch) -> Result<Tensor, TrainError> {
        let (num, most) = (batch.labels.size()[0], self.recipe.microbatch() as i64);
        if num <= most {
            let loss = self.loss(batch)?;
            self.ddp.backward(&self.scaler.scale(&loss))?;
            self.exchange()?;
            return Ok(loss);
        }
        let last = (num - 1) / most * most;
        let mut sum = Tensor::zeros([], (batch.targets.kind(), self.device));
        for start in (0..last).step_by(most as usize) {
            sum += self.accumulate(&batch.part(start, most), num)?;
        }
        let rest = num - last;
        let loss = self.loss(&batch.part(last, rest))? * (rest as f64 / num as f64);
        self.ddp.backward(&self.scaler.scale(&loss))?;
        self.exchange()?;
        Ok(sum + loss.detach())
    }

    /// Adds the gradients of `part` of a batch of `num` images, and returns its part of the batch's
    /// loss, `[]`. No other rank takes part.
    pub(super) fn accumulate(&self, part: &Batch, num: i64) -> Result<Tensor, TrainError> {
        let fraction = part.labels.size()[0] as f64 / num as f64;
        let loss = self.own_loss(part)? * fraction;
        self.ddp.accumulate(&self.scaler.scale(&loss))?;
        Ok(loss.detach())
    }

    /// The loss of `batch` on this rank, `[]`, before a backward pass in which all ranks take part.
    pub(super) fn loss(&self, batch: &Batch) -> Result<Tensor, TrainError> {
        self.ddp.before_forward()?;
        self.own_loss(batch)
    }

    fn own_loss(&self, batch: &Batch) -> Result<Tensor, TrainError> {
        let logits = self.forward.logits(&self.model, &batch.images, Mode::Train)?;
        Ok(mean_loss(self.recipe.loss.name, &logits, &batch.targets))
    }
}

/// Autocast to half precision while the guard lives; `None` for full precision.
pub(super) fn autocast(
    precision: Precision,
    device: Device,
) -> Result<Option<Autocast>, BridgeError> {
    let half = match precision {
        Precision::Fp32 | Precision::Fp64 => None,
        Precision::AmpBf16 => Some(HalfKind::Bf16),
        Precision::AmpFp16 => Some(HalfKind::Fp16),
    };
    half.map(|kind| Autocast::enter(device, kind)).transpose()
}
