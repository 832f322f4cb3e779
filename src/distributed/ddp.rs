//! Data-parallel backward: gradients come out as means over all ranks.

use crate::libtorch::{BridgeError, Group, Reducer};
use tch::Tensor;

use super::world::World;

/// Why the ranks lost each other, or backward failed.
#[derive(Debug, thiserror::Error)]
pub enum DistError {
    /// The process group or the reducer.
    #[error("{doing}: {source}")]
    Group {
        /// What was tried.
        doing: &'static str,
        /// libtorch's words.
        source: BridgeError,
    },
    /// Backward itself.
    #[error("backward: {0}")]
    Backward(String),
}

/// All ranks, and the reducer of their gradients. A rank alone has neither and pays for neither.
pub struct Ddp {
    group: Option<Group>,
    reducer: Option<Reducer>,
    /// Without a reducer: the parameters, whose gradients are still to be exchanged.
    detached: Vec<Tensor>,
    /// What rank 0 overwrites before each forward.
    buffers: Vec<Tensor>,
}

/// What is to be kept alike on all ranks.
pub struct Shared<'a> {
    /// Parameters, in the order of the forward pass.
    pub parameters: Vec<&'a Tensor>,
    /// Buffers.
    pub buffers: Vec<&'a Tensor>,
    /// When rank 0's buffers overwrite the others'.
    pub sync: BufferSync,
    /// Size of a gradient bucket, MiB.
    pub bucket_mb: usize,
}

/// When rank 0's buffers overwrite the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferSync {
    /// Once, at the start.
    Start,
    /// Before each forward in training.
    EachForward,
}

fn failed(doing: &'static str) -> impl Fn(BridgeError) -> DistError {
    move |source| DistError::Group { doing, source }
}

impl Ddp {
    /// A world of one, which talks to nobody.
    pub fn alone() -> Self {
        Self { group: None, reducer: None, detached: Vec::new(), buffers: Vec::new() }
    }

    /// Joins the other ranks; blocks until all are there. After `timeout_s` without an answer a
    /// collective has failed.
    pub fn join(world: &World, device: tch::Device, timeout_s: u64) -> Result<Self, DistError> {
        let meeting = world.rendezvous(timeout_s);
        let group = Group::join(&meeting).map_err(failed("joining the other ranks"))?;
        if let tch::Device::Cuda(index) = device {
            group.attach_nccl(&meeting, index).map_err(failed("setting up NCCL"))?;
        }
        Ok(Self { group: Some(group), ..Self::alone() })
    }

    /// Makes all tensors rank 0's, and from then on all gradients means over ranks.
    pub fn attach(&mut self, shared: &Shared) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        let all = shared.parameters.iter().chain(&shared.buffers).copied();
        group.broadcast(all).map_err(failed("broadcasting the weights"))?;
        let parameters = shared.parameters.iter().copied();
        // The one that was there takes its hooks off first.
        self.reducer = None;
        self.detached.clear();
        let reducer = Reducer::new(group, parameters, shared.bucket_mb << 20);
        self.reducer = Some(reducer.map_err(failed("building the gradient reducer"))?);
        if shared.sync == BufferSync::EachForward {
            self.buffers = shared.buffers.iter().map(|t| t.shallow_clone()).collect();
        }
        Ok(())
    }

    /// Whether gradients go through the reducer.
    pub fn is_reduced(&self) -> bool {
        self.reducer.is_some()
    }

    /// Gives the reducer up: gradients of `parameters` are left to the caller.
    pub fn detach<'a>(&mut self, parameters: impl IntoIterator<Item = &'a Tensor>) {
        self.reducer = None;
        self.detached = parameters.into_iter().map(Tensor::shallow_clone).collect();
    }

    /// What backward has left to be made means over ranks; nothing while there is a reducer.
    pub fn own_gradients(&self) -> Vec<Tensor> {
        self.detached.iter().map(Tensor::grad).filter(Tensor::defined).collect()
    }

    /// Before each step in training, and never part of a recording: what has to be alike on all
    /// ranks where the reducer, and with it all of NCCL, is kept out of recordings.
    pub fn before_step(&self) -> Result<(), DistError> {
        if self.is_reduced() { Ok(()) } else { self.send_buffers() }
    }

    /// Before each forward in training.
    pub fn before_forward(&self) -> Result<(), DistError> {
        let Some(reducer) = &self.reducer else { return Ok(()) };
        reducer.before_forward().map_err(failed("preparing the forward pass"))?;
        self.send_buffers()
    }

    fn send_buffers(&self) -> Result<(), DistError> {
        match &self.group {
            Some(group) if !self.buffers.is_empty() => {
                group.broadcast(&self.buffers).map_err(failed("broadcasting buffers"))
            }
            _ => Ok(()),
        }
    }

    /// Backward from `loss` (`[]`); all-reduces run while it runs.
    pub fn backward(&self, loss: &Tensor) -> Result<(), DistError> {
        if let Some(reducer) = &self.reducer {
            reducer.before_backward().map_err(failed("preparing the backward pass"))?;
        }
        loss.f_backward().map_err(|e| {
            let text = e.to_string();
            DistError::Backward(text.lines().next().unwrap_or_default().to_owned())
        })
    }

    /// Sums a tensor over all ranks, in place.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.sum(tensor).map_err(failed("summing over ranks"))
    }

    /// Makes each of `tensors` its mean over all ranks.
    pub fn mean<'a>(&self, tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.mean(tensors).map_err(failed("averaging over ranks"))
    }

    /// Waits until all ranks are here.
    pub fn barrier(&self) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.barrier().map_err(failed("waiting for the other ranks"))
    }
}
