//! Steps that a GPU has recorded, one for each side of the images, and replays: one launch instead
//! of some thousand, which at small images take longer than the arithmetic.
//!
//! Recorded is `Trainer::work`: from the images' bytes to changed weights, gradients' means over
//! ranks included. Its inputs are the images, which are copied to where they lay when it was
//! recorded, and the learning rate, which lies on the device. Where the reducer of gradients cannot be
//! recorded a step is two recordings, between which the host has gradients exchanged. Recordings share one
//! pool of memory: they never run at the same time, and what one leaves behind, its loss, is used before the next.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{Device, Tensor};

use super::{
    batch::DeviceBatch, error::TrainError, trainer::Trainer, warmup::first_epochs_of_sizes,
};
use crate::{
    libtorch::{Capturing, Graph},
    recipe::CudaGraphs,
};

/// The reducer of gradients times its first ten steps; timers cannot be recorded.
const NUM_TIMED_STEPS: usize = 11;

/// Where steps are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CaptureMode {
    /// Nowhere.
    Off,
    /// By GPU `.0`.
    Gpu(usize),
    /// What a GPU would do once more the host does: the bookkeeping without the GPU.
    #[cfg(test)]
    Host,
    /// The same, and like a GPU that cannot record the reducer.
    #[cfg(test)]
    HostWithoutReducer,
}

/// A recording that goes on, and what it has been cut from.
pub(super) struct GraphCapture {
    gpu: usize,
    running: Capturing,
    before: Option<Before>,
}

/// The first of two recordings of a step.
struct Before {
    graph: Graph,
    /// What it leaves, to be made means over ranks before the second.
    gradients: Vec<Tensor>,
}

/// A recorded step.
pub(super) struct CapturedStep {
    /// Side that the methods bring the images to, px.
    image_size: usize,
    device_batch: DeviceBatch,
    loss: Tensor,
    before: Option<Before>,
    /// Absent without a GPU: then the host does the work again on what was recorded.
    graph: Option<Graph>,
}

#[cfg(test)]
impl CapturedStep {
    pub(super) fn image_size(&self) -> usize {
        self.image_size
    }
}

impl CaptureMode {
    /// Where the steps on `device` may be recorded.
    pub(super) fn on(device: Device, choice: CudaGraphs) -> Self {
        match (device, choice) {
            (Device::Cuda(index), CudaGraphs::Auto) => Self::Gpu(index),
            _ => Self::Off,
        }
    }
}

impl Trainer {
    /// The recording that does the step of `device_batch`, if there is one.
    pub(super) fn captured(&self, device_batch: &DeviceBatch) -> Option<usize> {
        let image_size = self.recipe.image_sizes[self.progress.epoch];
        let fits = |captured: &CapturedStep| {
            captured.image_size == image_size && captured.device_batch.is_like(device_batch)
        };
        self.captured.iter().position(fits)
    }

    /// [`Trainer::work`] on `device_batch`, as it was recorded.
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
            self.ddp.mean(gradients)?;
        }
        if let Some(graph) = graph {
            graph.replay()?;
        } else {
            let input = input.duplicate();
            loss.shallow_clone().copy_(&self.forward_backward_update(&input)?);
        }
        Ok(loss)
    }

    /// Makes gradients means over ranks where no reducer has done so. That is the host's part of a
    /// step, so a recording is cut here.
    pub(super) fn exchange(&mut self) -> Result<(), TrainError> {
        let gradients = self.ddp.own_gradients();
        if gradients.is_empty() {
            return Ok(());
        }
        let Some(GraphCapture { gpu, running, .. }) = self.capture.take() else {
            return Ok(self.ddp.mean(&gradients)?);
        };
        let before = Before { graph: running.end()?, gradients };
        let running = Capturing::begin(gpu, Some(&before.graph))?;
        self.capture = Some(GraphCapture { gpu, running, before: Some(before) });
        Ok(())
    }

    /// Records the step of each side of the run, the largest first, whose memory the others then
    /// find enough.
    pub(super) fn capture_steps(&mut self) -> Result<Option<String>, TrainError> {
        let mut epochs = first_epochs_of_sizes(&self.recipe.image_sizes);
        epochs.sort_by_key(|&epoch| std::cmp::Reverse(self.recipe.image_sizes[epoch]));
        self.capture_steps_of(&epochs)
    }

    /// Records the step of each of `epochs`, without the reducer where it does not go with it. All
    /// ranks do so or none. A sentence, where steps are not recorded, or not whole, that could be
    /// wished to be.
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
        self.progress.epoch = epochs[0];
        while self.ddp.is_reduced() && self.progress.step < NUM_TIMED_STEPS {
            self.warm_step()?;
        }
        let in_halves = "gradients are exchanged between two CUDA graphs of a step, after backward";
        let Some(reason) = self.try_to_capture(epochs)? else {
            // The reducer may have been given up for another side.
            let is_halved = self.captured.iter().any(|captured| captured.before.is_some());
            return Ok(is_halved.then(|| in_halves.to_owned()));
        };
        if self.ddp.is_reduced() {
            self.ddp.detach(self.model.weights().parameters().iter().map(|(_, tensor)| tensor));
            self.progress.epoch = epochs[0];
            self.warm_step()?;
            if self.try_to_capture(epochs)?.is_none() {
                return Ok(Some(format!("{in_halves}: {reason}")));
            }
        }
        // The recording may have left the reducer in the middle of a step.
        self.attach()?;
        self.warm_step()?;
        Ok(Some(without(&reason)))
    }

    /// Records the step of each of `epochs`; the reason, where a rank could not.
    fn try_to_capture(&mut self, epochs: &[usize]) -> Result<Option<String>, TrainError> {
        let failure = epochs.iter().find_map(|&epoch| {
            self.progress.epoch = epoch;
            self.capture_step().err()
        });
        let num_failed = Tensor::from(i64::from(failure.is_some()));
        self.ddp.sum(&num_failed)?;
        if i64::try_from(&num_failed).expect("one number") == 0 {
            return Ok(None);
        }
        self.captured.clear();
        // Backward may have left some; the next one would add to them.
        self.optimizer.drop_grads()?;
        let reason = failure.map_or_else(|| "another rank failed".to_owned(), |e| e.to_string());
        Ok(Some(format!("recording the step failed ({reason})")))
    }

    /// Records the step of the current epoch's side.
    fn capture_step(&mut self) -> Result<(), TrainError> {
        let epoch = self.progress.epoch;
        let (image_size, crop_size) =
            (self.recipe.image_sizes[epoch], self.recipe.crop_sizes[epoch]);
        let device_batch =
            self.uploader.synthetic(self.recipe.batch_per_rank, crop_size)?.duplicate();
        let (loss, before, graph) = match self.mode {
            CaptureMode::Off => return Ok(()),
            CaptureMode::Gpu(gpu) => {
                let beside = self.captured.first().and_then(|first| first.graph.as_ref());
                let running = Capturing::begin(gpu, beside)?;
                self.capture = Some(GraphCapture { gpu, running, before: None });
                let loss = unwound(|| self.forward_backward_update(&device_batch));
                let capture = self.capture.take();
                let (loss, GraphCapture { running, before, .. }) =
                    (loss?, capture.expect("put there"));
                (loss, before, Some(running.end()?))
            }
            #[cfg(test)]
            CaptureMode::HostWithoutReducer if self.ddp.is_reduced() => {
                return Err(TrainError::Device("a reducer".to_owned()));
            }
            #[cfg(test)]
            CaptureMode::Host | CaptureMode::HostWithoutReducer => {
                (Tensor::from(0.0f32), None, None)
            }
        };
        self.captured.push(CapturedStep { image_size, device_batch, loss, before, graph });
        Ok(())
    }
}

/// What cannot be recorded surfaces in tch as a panic; here it is a reason to go on without.
fn unwound<T>(work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
        Err(TrainError::Device(text.lines().next().unwrap_or_default().to_owned()))
    })
}
