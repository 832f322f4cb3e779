//! Steps captured in CUDA graphs, one graph for each image size and each value by epoch that the
//! device does not read from memory. A replay is one launch instead of
//! some thousand, which take longer than the arithmetic when images are small.
//!
//! A graph holds `StepEngine::forward_backward_update`: from the bytes of the images to updated
//! weights, the all-reduce of gradients included. Its inputs are the images, which are copied to
//! the addresses of the capture, and the learning rate, which is on the device. Where the reducer
//! of gradients cannot be captured, a step is two graphs, and the host all-reduces the gradients
//! between them. All graphs share one memory pool: they never run at the same time, and the loss
//! that one leaves behind is used before the next one runs.

use tch::{Device, Tensor};

use super::{
    batch::DeviceBatch,
    engine::StepEngine,
    error::{TrainError, unwound},
};
use crate::{
    libtorch::{Capturing, Graph},
    recipe::{CudaGraphs, StepConstants},
};

/// The reducer of gradients times its first ten steps, and timers cannot be captured.
const NUM_TIMED_STEPS: usize = 11;

/// Where steps are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CaptureMode {
    /// Not at all.
    Off,
    /// On GPU `.0`.
    Gpu(usize),
    /// The bookkeeping without a GPU: the host computes the step again instead of a replay.
    #[cfg(test)]
    Host,
    /// The same, like a GPU that cannot capture the reducer.
    #[cfg(test)]
    HostWithoutReducer,
}

/// A capture in progress, and the part of the step before it.
pub(super) struct GraphCapture {
    gpu: usize,
    running: Capturing,
    before: Option<Before>,
}

/// The first of two graphs of a step.
struct Before {
    graph: Graph,
    /// The gradients that it computes, which are all-reduced before the second graph.
    gradients: Vec<Tensor>,
}

/// A captured step.
pub(super) struct CapturedStep {
    constants: StepConstants,
    device_batch: DeviceBatch,
    loss: Tensor,
    before: Option<Before>,
    /// `None` without a GPU: the host computes the step on the captured inputs.
    graph: Option<Graph>,
}

impl CapturedStep {
    /// The graph that ends in the update.
    pub(super) fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    #[cfg(test)]
    pub(super) fn image_size(&self) -> usize {
        self.constants.image_size
    }
}

impl CaptureMode {
    /// Where steps on `device` may be captured.
    pub(super) fn on(device: Device, choice: CudaGraphs) -> Self {
        match (device, choice) {
            (Device::Cuda(index), CudaGraphs::Auto) => Self::Gpu(index),
            _ => Self::Off,
        }
    }
}

impl StepEngine {
    /// Number of the captured step that fits `device_batch`, if any.
    pub(super) fn captured(&self, device_batch: &DeviceBatch) -> Option<usize> {
        let constants = self.recipe.step_constants(self.progress.epoch);
        let fits = |captured: &CapturedStep| {
            captured.constants == constants && captured.device_batch.is_like(device_batch)
        };
        self.captured.iter().position(fits)
    }

    /// Replays [`StepEngine::forward_backward_update`] on `device_batch`.
    pub(super) fn replay(
        &mut self,
        number: usize,
        device_batch: &DeviceBatch,
    ) -> Result<Tensor, TrainError> {
        let CapturedStep { device_batch: input, loss, before, graph, .. } = &self.captured[number];
        input.copy_from(device_batch);
        let loss = loss.shallow_clone();
        if let Some(Before { graph, gradients }) = before {
            graph.replay()?;
            self.ddp.mean_gradients(gradients)?;
        }
        if let Some(graph) = graph {
            graph.replay()?;
        } else {
            let input = input.duplicate();
            loss.shallow_clone().copy_(&self.forward_backward_update(&input)?);
        }
        Ok(loss)
    }

    /// All-reduces gradients where no reducer has done so. The host does this, so a capture is split
    /// in two here.
    pub(super) fn exchange(&mut self) -> Result<(), TrainError> {
        let gradients = self.ddp.own_gradients();
        if gradients.is_empty() {
            return Ok(());
        }
        let Some(GraphCapture { gpu, running, .. }) = self.capture.take() else {
            return Ok(self.ddp.mean_gradients(&gradients)?);
        };
        let before = Before { graph: running.end()?, gradients };
        let running = Capturing::begin(gpu, Some(&before.graph))?;
        self.capture = Some(GraphCapture { gpu, running, before: Some(before) });
        Ok(())
    }

    /// Captures every step of the run, those of the largest images first, so that the memory of the
    /// first suffices for the others.
    pub(super) fn capture_steps(&mut self) -> Result<Option<String>, TrainError> {
        let mut epochs: Vec<usize> = self.recipe.first_epochs_of_steps().collect();
        epochs.sort_by_key(|&epoch| std::cmp::Reverse(self.recipe.image_sizes[epoch]));
        self.capture_steps_of(&epochs)
    }

    /// Captures the step of each of `epochs`, without the reducer where that cannot be captured. All
    /// ranks capture, or none does. Returns a message if steps are captured in part or not at all
    /// although the recipe asks for it.
    pub(super) fn capture_steps_of(
        &mut self,
        epochs: &[usize],
    ) -> Result<Option<String>, TrainError> {
        if self.mode == CaptureMode::Off {
            return Ok(None);
        }
        let without =
            |reason: &str| format!("steps are launched one by one, without CUDA graphs: {reason}");
        if let Some(obstacle) = self.recipe.graph_obstacle() {
            return Ok(Some(without(&obstacle)));
        }
        let in_halves = "gradients are exchanged between two CUDA graphs of a step, after backward";
        let reason = if self.ddp.is_reduced() && self.recipe.algorithms.layer_freezing.is_some() {
            "algorithms.layer_freezing changes which gradients there are".to_owned()
        } else {
            self.enter_epoch(epochs[0])?;
            while self.ddp.is_reduced() && self.progress.step < NUM_TIMED_STEPS {
                self.warm_step()?;
            }
            let Some(reason) = self.try_to_capture(epochs)? else {
                // The reducer may have failed at another image size.
                let is_halved = self.captured.iter().any(|captured| captured.before.is_some());
                return Ok(is_halved.then(|| in_halves.to_owned()));
            };
            reason
        };
        if self.ddp.is_reduced() {
            self.ddp.detach(self.model.weights().parameters().iter().map(|(_, tensor)| tensor));
            self.enter_epoch(epochs[0])?;
            self.warm_step()?;
            if self.try_to_capture(epochs)?.is_none() {
                return Ok(Some(format!("{in_halves}: {reason}")));
            }
        }
        // The capture may have left the reducer in the middle of a step, and ranks in different epochs.
        self.enter_epoch(epochs[0])?;
        self.attach()?;
        self.warm_step()?;
        Ok(Some(without(&reason)))
    }

    /// Captures the step of each of `epochs`. Returns the reason if a rank could not.
    fn try_to_capture(&mut self, epochs: &[usize]) -> Result<Option<String>, TrainError> {
        let failure = epochs
            .iter()
            .find_map(|&epoch| self.enter_epoch(epoch).and_then(|()| self.capture_step()).err());
        let num_failed = Tensor::from(i64::from(failure.is_some()));
        self.ddp.sum(&num_failed)?;
        if i64::try_from(&num_failed).expect("one number") == 0 {
            return Ok(None);
        }
        self.captured.clear();
        // Backward may have left gradients, and the next one would add to them.
        self.optimizer.drop_grads()?;
        let reason = failure.map_or_else(|| "another rank failed".to_owned(), |e| e.to_string());
        Ok(Some(format!("capturing the step failed ({reason})")))
    }

    /// Captures the step of the current epoch.
    fn capture_step(&mut self) -> Result<(), TrainError> {
        let epoch = self.progress.epoch;
        let crop_size = self.recipe.crop_sizes[epoch];
        let constants = self.recipe.step_constants(epoch);
        let device_batch =
            self.uploader.synthetic(self.recipe.batch_per_rank, crop_size)?.duplicate();
        let (loss, before, graph) = match self.mode {
            CaptureMode::Off => return Ok(()),
            CaptureMode::Gpu(gpu) => {
                let first = self.captured.first().and_then(CapturedStep::graph);
                let running = Capturing::begin(gpu, first)?;
                self.capture = Some(GraphCapture { gpu, running, before: None });
                let loss = unwound(|| self.forward_backward_update(&device_batch));
                let capture = self.capture.take();
                let (loss, GraphCapture { running, before, .. }) =
                    (loss?, capture.expect("set above"));
                (loss, before, Some(running.end()?))
            }
            #[cfg(test)]
            CaptureMode::HostWithoutReducer if self.ddp.is_reduced() => {
                return Err(TrainError::Unavailable("a reducer".to_owned()));
            }
            #[cfg(test)]
            CaptureMode::Host | CaptureMode::HostWithoutReducer => {
                (Tensor::from(0.0f32), None, None)
            }
        };
        self.captured.push(CapturedStep { constants, device_batch, loss, before, graph });
        Ok(())
    }
}
