//! The step of training.
//!
//! What the device does in it (`forward_backward_update`) takes its numbers from the device alone, so that a GPU may
//! have it recorded (`captured`); what changes from step to step is the host's part.

use tch::{Device, Kind, Tensor};

use super::{batch::DeviceBatch, error::TrainError, trainer::Trainer};
use crate::{
    algorithms::{Batch, Next},
    libtorch::{Autocast, BridgeError, HalfKind},
    model::{Mode, ResNet},
    optim::{mean_loss, sample_losses},
    recipe::{Precision, Recipe},
};

/// Number format of weights and images.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Fp64 => Kind::Double,
        Precision::Fp32 | Precision::AmpBf16 | Precision::AmpFp16 => Kind::Float,
    }
}

impl Trainer {
    /// One update by `device_batch`; its loss, `[]`, still on the device and good until the next step.
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

    /// What the device does in a step; the loss, `[]`.
    pub(super) fn forward_backward_update(
        &mut self,
        device_batch: &DeviceBatch,
    ) -> Result<Tensor, TrainError> {
        let batch = self.apply_methods(self.uploader.batch(device_batch))?;
        let loss = self.backward(&batch)?;
        while self.algorithms.after_backward(self.progress, &mut self.optimizer)?
            == Next::BackwardAgain
        {
            drop(self.backward(&batch)?);
        }
        self.scaler.step(&mut self.optimizer)?;
        Ok(loss.detach())
    }

    /// The batch as the methods make it.
    pub(super) fn apply_methods(&mut self, batch: Batch) -> Result<Batch, BridgeError> {
        let Self { algorithms, model, recipe, device, progress, .. } = self;
        let losses = |batch: &Batch| {
            let logits = logits(model, recipe, *device, &batch.images)?;
            Ok(sample_losses(recipe.loss.name, &logits, &batch.targets))
        };
        algorithms.before_forward(*progress, batch, &losses)
    }

    /// Leaves the gradients of `batch`, means over all ranks; its loss, `[]`.
    fn backward(&mut self, batch: &Batch) -> Result<Tensor, TrainError> {
        let loss = self.loss(batch)?;
        self.ddp.backward(&self.scaler.scale(&loss))?;
        self.exchange()?;
        Ok(loss)
    }

    /// The loss of `batch` on this rank, `[]`.
    pub(super) fn loss(&self, batch: &Batch) -> Result<Tensor, TrainError> {
        self.ddp.before_forward()?;
        let logits = logits(&self.model, &self.recipe, self.device, &batch.images)?;
        Ok(mean_loss(self.recipe.loss.name, &logits, &batch.targets))
    }
}

/// Images `[N, 3, R, R]` to logits `[N, K]`, in the recipe's number formats.
fn logits(
    model: &ResNet,
    recipe: &Recipe,
    device: Device,
    images: &Tensor,
) -> Result<Tensor, BridgeError> {
    let _autocast = autocast(recipe.train.precision, device)?;
    Ok(model.forward(images, Mode::Train))
}

/// Half precision for the operations that bear it, while this lives; nothing for the full ones.
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
