//! Evaluation of validation images, captured in CUDA graphs where that is possible, and the weights
//! that it uses.

use tch::{Kind, no_grad};

use super::{
    batch::DeviceBatch,
    captured_step::{CaptureMode, CapturedStep},
    engine::StepEngine,
    error::{TrainError, unwound},
};
use crate::{
    data::Shard,
    distributed::World,
    libtorch::{BridgeError, Capturing, Graph, TensorList},
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

/// A captured evaluation of a batch.
pub(super) struct CapturedEvaluation {
    device_batch: DeviceBatch,
    /// `None` without a GPU: the host evaluates the captured inputs.
    graph: Option<Graph>,
}

impl StepEngine {
    /// Puts the weights to evaluate into the network for good, after the run.
    pub(super) fn eval_weights(&mut self) -> Result<&Weights, BridgeError> {
        self.eval_weights.swap_in(self.algorithms.eval_weights())?;
        Ok(self.model.weights())
    }

    /// Adds the number of correct predictions for `device_batch` to `num_correct`.
    pub(super) fn evaluate(&self, device_batch: &DeviceBatch) -> Result<(), BridgeError> {
        let fits = |captured: &&CapturedEvaluation| captured.device_batch.is_like(device_batch);
        let Some(captured) = self.captured_evaluations.iter().find(fits) else {
            return self.count_correct(device_batch);
        };
        captured.device_batch.copy_from(device_batch);
        match &captured.graph {
            Some(graph) => graph.replay(),
            None => self.count_correct(&captured.device_batch),
        }
    }

    /// Captures the evaluation of each size of batch that this rank has. Returns a message if that
    /// fails; batches are then evaluated without a graph.
    pub(super) fn capture_evaluation(&mut self) -> Option<String> {
        for num in self.eval_batch_sizes() {
            match unwound(|| self.captured_evaluation(num)) {
                Ok(captured) => self.captured_evaluations.extend(captured),
                Err(error) => {
                    self.captured_evaluations.clear();
                    return Some(format!(
                        "evaluation is launched kernel by kernel, without CUDA graphs: {error}"
                    ));
                }
            }
        }
        None
    }

    fn captured_evaluation(&self, num: usize) -> Result<Option<CapturedEvaluation>, TrainError> {
        let image_size = self.recipe.data.eval.crop_size;
        let device_batch = self.uploader.synthetic(num, image_size)?.duplicate();
        let graph = match self.mode {
            CaptureMode::Off => return Ok(None),
            CaptureMode::Gpu(gpu) => {
                let others = self.captured_evaluations.iter().filter_map(|c| c.graph.as_ref());
                let steps = self.captured.iter().filter_map(CapturedStep::graph);
                let running = Capturing::begin(gpu, others.chain(steps).next())?;
                self.count_correct(&device_batch)?;
                Some(running.end()?)
            }
            #[cfg(test)]
            CaptureMode::Host | CaptureMode::HostWithoutReducer => None,
        };
        Ok(Some(CapturedEvaluation { device_batch, graph }))
    }

    /// Numbers of images in the batches that this rank evaluates: of all batches but the last, and
    /// of the last.
    pub(super) fn eval_batch_sizes(&self) -> Vec<usize> {
        let World { rank, world_size, .. } = self.world;
        let sampler =
            self.recipe.data.sampler(self.recipe.run_context.num_eval, Shard { rank, world_size });
        let (batch, num) = (self.recipe.eval_batch_per_rank, sampler.eval_order().len());
        let mut sizes = vec![batch.min(num), num % batch];
        sizes.retain(|&size| size > 0);
        sizes.dedup();
        sizes
    }

    fn count_correct(&self, device_batch: &DeviceBatch) -> Result<(), BridgeError> {
        no_grad(|| {
            let batch = self.uploader.batch(device_batch, device_batch.image_size, 0.0);
            let logits = self.eval_forward.logits(&self.model, &batch.images, Mode::Eval)?; // [N, K]
            let num_correct = logits.argmax(-1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
            let _ = self.num_correct.shallow_clone().g_add_(&num_correct);
            Ok(())
        })
    }
}
