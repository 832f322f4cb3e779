//! Judging validation images, and the weights that are judged.

use tch::{Kind, Tensor, no_grad};

use super::{batch::DeviceBatch, step::autocast, trainer::Trainer};
use crate::{
    libtorch::{BridgeError, TensorList},
    model::{Mode, Weights},
};

/// Puts other weights than the trained ones into the network while it is judged. The tensors stay
/// where they are; their numbers move.
pub(super) struct EvalWeights {
    trained: TensorList,
    /// The trained numbers while others are in their place; made when first needed.
    kept: Option<TensorList>,
    are_out: bool,
}

impl EvalWeights {
    /// For a network with these weights.
    pub(super) fn new(weights: &Weights) -> Result<Self, BridgeError> {
        let trained = TensorList::new(weights.all().map(|(_, tensor)| tensor))?;
        Ok(Self { trained, kept: None, are_out: false })
    }

    /// The network's own tensors.
    pub(super) fn trained(&self) -> &TensorList {
        &self.trained
    }

    /// Puts `weights` in, if there are any.
    pub(super) fn swap_in(&mut self, weights: Option<&TensorList>) -> Result<(), BridgeError> {
        let Some(weights) = weights else { return Ok(()) };
        match &self.kept {
            Some(kept) => kept.copy_from(&self.trained)?,
            None => self.kept = Some(self.trained.duplicate()?),
        }
        self.are_out = true;
        self.trained.copy_from(weights)
    }

    /// Puts the trained weights back, if they are out.
    pub(super) fn swap_out(&mut self) -> Result<(), BridgeError> {
        match &self.kept {
            Some(kept) if std::mem::take(&mut self.are_out) => self.trained.copy_from(kept),
            _ => Ok(()),
        }
    }
}

impl Trainer {
    /// The weights that evaluations judge, for good: the run is over.
    pub(super) fn eval_weights(&mut self) -> Result<&Weights, BridgeError> {
        self.eval_weights.swap_in(self.algorithms.eval_weights())?;
        Ok(self.model.weights())
    }

    /// Adds the number of `device_batch` judged right to `right` (`[]`, int64), on the device.
    pub(super) fn count_correct(
        &self,
        device_batch: &DeviceBatch,
        right: &Tensor,
    ) -> Result<(), BridgeError> {
        no_grad(|| {
            let batch = self.uploader.batch(device_batch);
            let _autocast = autocast(self.recipe.eval.precision, self.device)?;
            let logits = self.model.forward(&batch.images, Mode::Eval); // [N, K]
            let eval_weights = logits.argmax(-1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
            let _ = right.shallow_clone().g_add_(&eval_weights);
            Ok(())
        })
    }
}
