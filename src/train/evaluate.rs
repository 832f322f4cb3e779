//! Evaluation of validation images, and the weights that it uses.

use tch::{Kind, Tensor, no_grad};

use super::{batch::DeviceBatch, engine::StepEngine};
use crate::{
    libtorch::{BridgeError, TensorList},
    model::{Mode, Weights},
};

/// Puts other weights than the trained ones into the network during evaluation. The tensors keep
/// their addresses; the numbers are copied.
pub(super) struct EvalWeights {
    trained: TensorList,
    /// The trained numbers while others are in use; allocated when first needed.
    saved: Option<TensorList>,
    are_out: bool,
}

impl EvalWeights {
    /// For the network of `weights`.
    pub(super) fn new(weights: &Weights) -> Result<Self, BridgeError> {
        let trained = TensorList::new(weights.all().map(|(_, tensor)| tensor))?;
        Ok(Self { trained, saved: None, are_out: false })
    }

    /// The network's own tensors.
    pub(super) fn trained(&self) -> &TensorList {
        &self.trained
    }

    /// Puts `weights` in, if there are any.
    pub(super) fn swap_in(&mut self, weights: Option<&TensorList>) -> Result<(), BridgeError> {
        let Some(weights) = weights else { return Ok(()) };
        match &self.saved {
            Some(saved) => saved.copy_from(&self.trained)?,
            None => self.saved = Some(self.trained.duplicate()?),
        }
        self.are_out = true;
        self.trained.copy_from(weights)
    }

    /// Puts the trained weights back, if they are out.
    pub(super) fn swap_out(&mut self) -> Result<(), BridgeError> {
        match &self.saved {
            Some(saved) if std::mem::take(&mut self.are_out) => self.trained.copy_from(saved),
            _ => Ok(()),
        }
    }
}

impl StepEngine {
    /// Puts the weights to evaluate into the network for good, after the run.
    pub(super) fn eval_weights(&mut self) -> Result<&Weights, BridgeError> {
        self.eval_weights.swap_in(self.algorithms.eval_weights())?;
        Ok(self.model.weights())
    }

    /// Adds the number of correct predictions for `device_batch` to `correct` (`[]`, int64), on the
    /// device.
    pub(super) fn count_correct(
        &self,
        device_batch: &DeviceBatch,
        correct: &Tensor,
    ) -> Result<(), BridgeError> {
        no_grad(|| {
            let batch = self.uploader.batch(device_batch);
            let logits = self.eval_forward.logits(&self.model, &batch.images, Mode::Eval)?; // [N, K]
            let num_correct = logits.argmax(-1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
            let _ = correct.shallow_clone().g_add_(&num_correct);
            Ok(())
        })
    }
}
