//! The step of training, and the forward pass that it shares with warm-up.

use tch::Tensor;

use super::{batch::DeviceBatch, error::TrainError, trainer::Trainer};
use crate::{
    dist::c10d::{Autocast, HalfKind},
    model::Mode,
    optim::mean_loss,
    recipe::Precision,
};

impl Trainer {
    /// One update by `batch`; its loss, `[]`, still on the device.
    pub(super) fn step(&mut self, batch: &DeviceBatch) -> Result<Tensor, TrainError> {
        self.ddp.before_forward()?;
        let logits = self.forward(&batch.images)?; // [N, K]
        let loss = mean_loss(self.recipe.raw.loss.name, &logits, &batch.targets); // []
        self.ddp.backward(&self.scaler.scale(&loss))?; // gradients are now means over ranks
        let lr = self.recipe.schedule.lr(self.num_steps);
        self.scaler.step(&mut self.optimizer, lr)?;
        self.num_steps += 1;
        Ok(loss.detach())
    }

    /// Images `[N, 3, R, R]` to logits `[N, K]`, in the recipe's number formats.
    fn forward(&self, images: &Tensor) -> Result<Tensor, TrainError> {
        let half = match self.recipe.raw.train.precision {
            Precision::Fp32 => None,
            Precision::AmpBf16 => Some(HalfKind::Bf16),
            Precision::AmpFp16 => Some(HalfKind::Fp16),
        };
        let _autocast = half.map(|kind| Autocast::enter(self.device, kind)).transpose()?;
        Ok(self.model.forward(images, Mode::Train))
    }
}
