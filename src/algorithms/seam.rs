//! Where methods touch a run. A method implements what it needs; the rest does nothing.
//!
//! Deliberately absent: events and priorities. What a method changes before anything is built (the
//! network, the sizes by epoch, the targets) it changes on configs, in its own file.

use tch::Tensor;

use super::{AlgorithmsConfig, ema::Averaging, progressive_resizing::Resizing};
use crate::{
    dist::c10d::{BridgeError, TensorList},
    optim::Horizon,
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

/// A speed-up method while a run goes on. Nothing here may make the host wait for the device.
pub trait Algorithm {
    /// Changes a training batch before its forward pass.
    fn before_forward(&mut self, _now: Progress, batch: Batch) -> Batch {
        batch
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
pub struct Setting<'a> {
    /// All weights and buffers of the network, in its own order.
    pub weights: &'a TensorList,
    /// Length of the run.
    pub horizon: &'a Horizon,
    /// Side of the training images by epoch, px.
    pub sides: &'a [usize],
}

/// The methods of a run, in the order in which they act.
pub struct Algorithms(Vec<Box<dyn Algorithm>>);

impl Algorithms {
    /// Those that `config` switches on and that act while the run goes on, in their first state.
    pub fn new(config: &AlgorithmsConfig, setting: &Setting) -> Result<Self, BridgeError> {
        let mut methods: Vec<Box<dyn Algorithm>> = Vec::new();
        if config.progressive_resizing.is_some() {
            methods.push(Box::new(Resizing::new(setting.sides)));
        }
        if let Some(ema) = &config.ema {
            methods.push(Box::new(Averaging::new(ema, setting)?));
        }
        Ok(Self(methods))
    }

    /// See [`Algorithm::before_forward`].
    pub fn before_forward(&mut self, now: Progress, batch: Batch) -> Batch {
        self.0.iter_mut().fold(batch, |batch, method| method.before_forward(now, batch))
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
