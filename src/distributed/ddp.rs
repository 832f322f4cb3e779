//! Distributed data-parallel (DDP) backward: gradients are averaged over all ranks.

use crate::libtorch::{BridgeError, Group, GroupTimeouts, HalfKind, Reducer};
use tch::Tensor;

use super::world::World;

/// Why a collective or the backward pass failed.
#[derive(Debug, thiserror::Error)]
pub enum DistError {
    /// The process group or the reducer failed.
    #[error("{doing}: {source}")]
    Group {
        /// The failed action.
        doing: &'static str,
        /// libtorch's message.
        source: BridgeError,
    },
    /// The backward pass itself failed.
    #[error("backward: {0}")]
    Backward(String),
}

/// The process group and the gradient reducer. A single rank has neither and pays for neither.
pub struct Ddp {
    group: Option<Group>,
    reducer: Option<Reducer>,
    /// If there is no reducer: the parameters whose gradients the caller must average.
    detached: Vec<Tensor>,
    /// Buffers that rank 0 overwrites before each forward pass.
    buffers: Vec<Tensor>,
    compression: Option<HalfKind>,
}

/// What must stay equal on all ranks.
pub struct Shared<'a> {
    /// Parameters, in the order of the forward pass.
    pub parameters: Vec<&'a Tensor>,
    /// Parameters that no step changes.
    pub frozen: Vec<&'a Tensor>,
    /// Buffers.
    pub buffers: Vec<&'a Tensor>,
    /// When rank 0's buffers overwrite the others'.
    pub sync: BufferSync,
    /// Size of a gradient bucket, MiB.
    pub bucket_mb: usize,
    /// The number format in which gradients travel, if not their own.
    pub compression: Option<HalfKind>,
}

/// When rank 0's buffers overwrite the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferSync {
    /// Once, at the start.
    Start,
    /// Before each training forward pass.
    EachForward,
}

fn failed(doing: &'static str) -> impl Fn(BridgeError) -> DistError {
    move |source| DistError::Group { doing, source }
}

impl Ddp {
    /// A single rank, without communication.
    pub fn alone() -> Self {
        Self {
            group: None,
            reducer: None,
            detached: Vec::new(),
            buffers: Vec::new(),
            compression: None,
        }
    }

    /// Joins the process group; blocks until all ranks have joined.
    pub fn join(
        world: &World,
        device: tch::Device,
        timeouts: GroupTimeouts,
    ) -> Result<Self, DistError> {
        let meeting = world.rendezvous(timeouts);
        let group = Group::join(&meeting).map_err(failed("joining the other ranks"))?;
        if let tch::Device::Cuda(index) = device {
            group.attach_nccl(&meeting, index).map_err(failed("setting up NCCL"))?;
        }
        Ok(Self { group: Some(group), ..Self::alone() })
    }

    /// Broadcasts rank 0's tensors and averages all later gradients over the ranks.
    pub fn attach(&mut self, shared: &Shared) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        let Shared { parameters, frozen, buffers, .. } = shared;
        let all = parameters.iter().chain(frozen).chain(buffers).copied();
        group.broadcast(all).map_err(failed("broadcasting the weights"))?;
        self.detached.clear();
        self.compression = shared.compression;
        if shared.sync == BufferSync::EachForward {
            self.buffers = shared.buffers.iter().map(|t| t.shallow_clone()).collect();
        }
        self.reduce(shared)
    }

    /// Averages the gradients of the parameters of `shared` from now on, and of no others. Sends nothing.
    pub fn reduce(&mut self, shared: &Shared) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        let parameters = shared.parameters.iter().copied();
        // The old reducer must remove its hooks first.
        self.reducer = None;
        let reducer = Reducer::new(group, parameters, shared.bucket_mb << 20, shared.compression);
        self.reducer = Some(reducer.map_err(failed("building the gradient reducer"))?);
        Ok(())
    }

    /// Whether a reducer averages the gradients.
    pub fn is_reduced(&self) -> bool {
        self.reducer.is_some()
    }

    /// Removes the reducer; the caller must average the gradients of `parameters`.
    pub fn detach<'a>(&mut self, parameters: impl IntoIterator<Item = &'a Tensor>) {
        self.reducer = None;
        self.detached = parameters.into_iter().map(Tensor::shallow_clone).collect();
    }

    /// The gradients that the caller must average; empty while there is a reducer.
    pub fn own_gradients(&self) -> Vec<Tensor> {
        self.detached.iter().map(Tensor::grad).filter(Tensor::defined).collect()
    }

    /// Called before each training step, outside any CUDA graph. Synchronizes the buffers if there
    /// is no reducer, because then graphs contain no NCCL calls.
    pub fn before_step(&self) -> Result<(), DistError> {
        if self.is_reduced() { Ok(()) } else { self.send_buffers() }
    }

    /// Called before each training forward pass.
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

    /// Backward pass from `loss` (`[]`), overlapped with the all-reduces.
    pub fn backward(&self, loss: &Tensor) -> Result<(), DistError> {
        if let Some(reducer) = &self.reducer {
            reducer.before_backward().map_err(failed("preparing the backward pass"))?;
        }
        self.accumulate(loss)
    }

    /// Backward pass from `loss` (`[]`) that adds to this rank's gradients. The next
    /// [`Ddp::backward`] averages the sums.
    pub fn accumulate(&self, loss: &Tensor) -> Result<(), DistError> {
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

    /// Overwrites each of `tensors` with rank 0's.
    pub fn broadcast<'a>(
        &self,
        tensors: impl IntoIterator<Item = &'a Tensor>,
    ) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.broadcast(tensors).map_err(failed("sending rank 0's values"))
    }

    /// Averages each of `tensors` over all ranks.
    pub fn mean<'a>(&self, tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.mean(tensors, None).map_err(failed("averaging over ranks"))
    }

    /// Averages gradients over all ranks where no reducer does.
    pub fn mean_gradients(&self, gradients: &[Tensor]) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.mean(gradients, self.compression).map_err(failed("averaging gradients"))
    }

    /// Waits until all ranks get here.
    pub fn barrier(&self) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.barrier().map_err(failed("waiting for the other ranks"))
    }
}
