//! The step of training, and the forward pass that it shares with warm-up.

use tch::{Kind, Tensor};

use super::{error::TrainError, trainer::Trainer};
use crate::{
    algorithms::Batch,
    dist::c10d::{Autocast, HalfKind},
    model::Mode,
    optim::mean_loss,
    recipe::Precision,
};

/// Number format of weights and images.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Fp64 => Kind::Double,
        Precision::Fp32 | Precision::AmpBf16 | Precision::AmpFp16 => Kind::Float,
    }
}

impl Trainer {
    /// One update by `batch`; its loss, `[]`, still on the device.
    pub(super) fn step(&mut self, batch: Batch) -> Result<Tensor, TrainError> {
        let batch = self.algorithms.before_forward(self.progress, batch);
        self.ddp.before_forward()?;
        let logits = self.forward(&batch.images)?; // [N, K]
        let loss = mean_loss(self.recipe.raw.loss.name, &logits, &batch.targets); // []
        self.ddp.backward(&self.scaler.scale(&loss))?; // gradients are now means over ranks
        let lr = self.recipe.schedule.lr(self.progress.step);
        self.scaler.step(&mut self.optimizer, lr)?;
        self.progress.step += 1;
        self.algorithms.after_step(self.progress)?;
        Ok(loss.detach())
    }

    /// Images `[N, 3, R, R]` to logits `[N, K]`, in the recipe's number formats.
    fn forward(&self, images: &Tensor) -> Result<Tensor, TrainError> {
        let half = match self.recipe.raw.train.precision {
            Precision::Fp32 | Precision::Fp64 => None,
            Precision::AmpBf16 => Some(HalfKind::Bf16),
            Precision::AmpFp16 => Some(HalfKind::Fp16),
        };
        let _autocast = half.map(|kind| Autocast::enter(self.device, kind)).transpose()?;
        Ok(self.model.forward(images, Mode::Train))
    }
}
