//! What a method does during training. A method implements what it needs; the rest does nothing.
//!
//! There are deliberately no events and no priorities. What a method changes before anything is
//! built (the network, the image sizes, the targets) it changes on configs, through
//! [`Method`](super::Method).

use tch::Tensor;

use crate::{
    libtorch::{BridgeError, TensorList},
    optim::{Optimizer, RunLength},
};

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Updates made so far.
    pub step: usize,
    /// Epoch, from 0.
    pub epoch: usize,
}

/// A batch on the device: N samples of this rank, R by R pixels, K classes.
pub struct Batch {
    /// `[N, 3, R, R]`, normalized.
    pub images: Tensor,
    /// `[N]`, int64.
    pub labels: Tensor,
    /// `[N, K]`, of the kind of the images.
    pub targets: Tensor,
}

impl Batch {
    /// `num` samples from number `start`, as views.
    #[must_use]
    pub fn part(&self, start: i64, num: i64) -> Self {
        Self {
            images: self.images.narrow(0, start, num),
            labels: self.labels.narrow(0, start, num),
            targets: self.targets.narrow(0, start, num),
        }
    }
}

/// Computes the loss of each sample of a batch, `[N]`, by a forward pass.
pub type SampleLosses<'a> = dyn Fn(&Batch) -> Result<Tensor, BridgeError> + 'a;

/// What follows a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The update.
    Update,
    /// Another forward and backward pass of the same batch, with the current weights.
    BackwardAgain,
}

/// A speed-up method during training. Nothing here may make the host wait for the device.
pub trait Algorithm {
    /// Changes a training batch before its forward pass.
    fn before_forward(
        &mut self,
        _now: Progress,
        batch: Batch,
        _losses: &SampleLosses,
    ) -> Result<Batch, BridgeError> {
        Ok(batch)
    }

    /// Acts on the gradients, which are all-reduced, and scaled where the loss is.
    fn after_backward(
        &mut self,
        _now: Progress,
        _optimizer: &mut Optimizer,
    ) -> Result<Next, BridgeError> {
        Ok(Next::Update)
    }

    /// Acts on the weights after an update, which `now.step` counts already.
    fn after_step(&mut self, _now: Progress) -> Result<(), BridgeError> {
        Ok(())
    }

    /// The average of the weights that the method keeps.
    fn average(&self) -> Option<&Average> {
        None
    }

    /// The same, to put the average of a checkpoint into it.
    fn average_mut(&mut self) -> Option<&mut Average> {
        None
    }
}

/// An average of the weights over training, to evaluate instead of them.
pub struct Average {
    /// In the order of [`Weights::all`](crate::model::Weights::all).
    pub weights: TensorList,
    /// How often it was updated; nothing is in it before the first time.
    pub num_updates: usize,
}

impl Average {
    /// An average of tensors like `weights`.
    pub fn of(weights: &TensorList) -> Result<Self, BridgeError> {
        Ok(Self { weights: weights.duplicate()?, num_updates: 0 })
    }
}

/// The run that a method is started for.
pub struct MethodContext<'a> {
    /// All weights and buffers of the network, in the order of its `Weights`.
    pub weights: &'a TensorList,
    /// Length of the run.
    pub run_length: &'a RunLength,
    /// Size of the training images by epoch, px.
    pub image_sizes: &'a [usize],
    /// Seed of the run.
    pub seed: u64,
    /// Rank of this process.
    pub rank: usize,
}

/// The methods of a run, in the order in which they act.
pub struct Algorithms(Vec<Box<dyn Algorithm>>);

impl Algorithms {
    /// `methods` act in their order.
    pub fn new(methods: Vec<Box<dyn Algorithm>>) -> Self {
        Self(methods)
    }

    /// See [`Algorithm::before_forward`].
    pub fn before_forward(
        &mut self,
        now: Progress,
        batch: Batch,
        losses: &SampleLosses,
    ) -> Result<Batch, BridgeError> {
        let mut methods = self.0.iter_mut();
        methods.try_fold(batch, |batch, method| method.before_forward(now, batch, losses))
    }

    /// See [`Algorithm::after_backward`]; the first method that asks for another pass gets it.
    pub fn after_backward(
        &mut self,
        now: Progress,
        optimizer: &mut Optimizer,
    ) -> Result<Next, BridgeError> {
        for method in &mut self.0 {
            if method.after_backward(now, optimizer)? == Next::BackwardAgain {
                return Ok(Next::BackwardAgain);
            }
        }
        Ok(Next::Update)
    }

    /// See [`Algorithm::after_step`].
    pub fn after_step(&mut self, now: Progress) -> Result<(), BridgeError> {
        self.0.iter_mut().try_for_each(|method| method.after_step(now))
    }

    /// The weights to evaluate instead of the trained ones.
    pub fn eval_weights(&self) -> Option<&TensorList> {
        let average = self.average().filter(|average| average.num_updates > 0)?;
        Some(&average.weights)
    }

    /// See [`Algorithm::average`]; at most one method keeps one.
    pub fn average(&self) -> Option<&Average> {
        self.0.iter().find_map(|method| method.average())
    }

    /// See [`Algorithm::average_mut`].
    pub fn average_mut(&mut self) -> Option<&mut Average> {
        self.0.iter_mut().find_map(|method| method.average_mut())
    }
}
