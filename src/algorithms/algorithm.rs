//! Where methods touch a run. A method implements what it needs; the rest does nothing.
//!
//! Deliberately absent: events and priorities. What a method changes before anything is built (the
//! network, the sizes by epoch, the targets) it changes on configs, in its own file.

use tch::Tensor;

use super::{
    AlgorithmsConfig, colout::Dropping, cutmix::Cutting, cutout::Blanking, ema::Averaging,
    mixup::Mixing, progressive_resizing::Resizing, sam::Climbing, selective_backprop::Selecting,
    swa::PlainMean,
};
use crate::{
    libtorch::{BridgeError, TensorList},
    optim::{Optimizer, RunLength},
};

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Updates made so far.
    pub step: usize,
    /// Epoch, from 0.
    pub epoch: usize,
}

/// A batch on the device. N samples of this rank, R the side of the images, K classes.
pub struct Batch {
    /// `[N, 3, R, R]`, normalised.
    pub images: Tensor,
    /// `[N]`, int64.
    pub labels: Tensor,
    /// `[N, K]`, of the images' kind.
    pub targets: Tensor,
}

/// Loss of each sample of a batch, `[N]`, by a forward pass.
pub type SampleLosses<'a> = dyn Fn(&Batch) -> Result<Tensor, BridgeError> + 'a;

/// What follows a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The update.
    Update,
    /// The same batch forward and backward once more, by the weights as they are now.
    BackwardAgain,
}

/// A speed-up method while a run goes on. Nothing here may make the host wait for the device.
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

    /// Looks at the gradients, which are means over ranks (and scaled, where losses are).
    fn after_backward(
        &mut self,
        _now: Progress,
        _optimizer: &mut Optimizer,
    ) -> Result<Next, BridgeError> {
        Ok(Next::Update)
    }

    /// Looks at the weights after an update; `now.step` counts it already.
    fn after_step(&mut self, _now: Progress) -> Result<(), BridgeError> {
        Ok(())
    }

    /// The weights to judge instead of the trained ones, in the order of
    /// [`Weights::all`](crate::model::Weights::all).
    fn eval_weights(&self) -> Option<&TensorList> {
        None
    }
}

/// What methods are built for.
pub struct MethodContext<'a> {
    /// All weights and buffers of the network, in its own order.
    pub weights: &'a TensorList,
    /// Length of the run.
    pub run_length: &'a RunLength,
    /// Side of the training images by epoch, px.
    pub image_sizes: &'a [usize],
    /// Seed of the run.
    pub seed: u64,
    /// Rank that it is built on.
    pub rank: usize,
}

/// The methods of a run, in the order in which they act.
pub struct Algorithms(Vec<Box<dyn Algorithm>>);

impl Algorithms {
    /// Those that `config` switches on and that act while the run goes on, in their first state.
    pub fn new(config: &AlgorithmsConfig, context: &MethodContext) -> Result<Self, BridgeError> {
        let mut methods: Vec<Box<dyn Algorithm>> = Vec::new();
        if config.progressive_resizing.is_some() {
            methods.push(Box::new(Resizing::new(context.image_sizes)));
        }
        if let Some(selective_backprop) = &config.selective_backprop {
            methods.push(Box::new(Selecting::new(selective_backprop, context)));
        }
        if let Some(colout) = &config.colout {
            methods.push(Box::new(Dropping::new(colout, context)));
        }
        if let Some(cutout) = &config.cutout {
            methods.push(Box::new(Blanking::new(cutout, context)));
        }
        if let Some(mixup) = &config.mixup {
            methods.push(Box::new(Mixing::new(mixup, context)));
        }
        if let Some(cutmix) = &config.cutmix {
            methods.push(Box::new(Cutting::new(cutmix, context)));
        }
        if let Some(sam) = &config.sam {
            methods.push(Box::new(Climbing::new(sam, context.weights)?));
        }
        if let Some(ema) = &config.ema {
            methods.push(Box::new(Averaging::new(ema, context)?));
        }
        if let Some(swa) = &config.swa {
            methods.push(Box::new(PlainMean::new(swa, context)?));
        }
        Ok(Self(methods))
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

    /// See [`Algorithm::after_backward`]; the first method that wants another pass has it.
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

    /// See [`Algorithm::eval_weights`].
    pub fn eval_weights(&self) -> Option<&TensorList> {
        self.0.iter().find_map(|method| method.eval_weights())
    }
}
