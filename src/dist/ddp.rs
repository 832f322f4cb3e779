//! Data-parallel backward: gradients come out as means over all ranks.

use tch::Tensor;

use super::{
    c10d::{BridgeError, Group, Reducer},
    world::World,
};

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

/// All ranks, and the reducer of their gradients. A world of one has neither and pays for neither.
pub struct Ddp {
    group: Option<Group>,
    reducer: Option<Reducer>,
}

fn failed(doing: &'static str) -> impl Fn(BridgeError) -> DistError {
    move |source| DistError::Group { doing, source }
}

impl Ddp {
    /// Joins the other ranks; blocks until all are there.
    pub fn join(world: &World, device: tch::Device) -> Result<Self, DistError> {
        if world.world_size == 1 {
            return Ok(Self { group: None, reducer: None });
        }
        let meeting = world.rendezvous();
        let group = Group::join(&meeting).map_err(failed("joining the other ranks"))?;
        if let tch::Device::Cuda(index) = device {
            group.attach_nccl(&meeting, index).map_err(failed("setting up NCCL"))?;
        }
        Ok(Self { group: Some(group), reducer: None })
    }

    /// Makes all tensors rank 0's, and from then on all gradients of `params` means over ranks.
    /// `params` stand in the order of the forward pass.
    pub fn attach<'a>(
        &mut self,
        all: impl Iterator<Item = &'a Tensor>,
        params: impl Iterator<Item = &'a Tensor>,
        bucket_mb: usize,
    ) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.broadcast(all).map_err(failed("broadcasting the weights"))?;
        let reducer = Reducer::new(group, params, bucket_mb << 20);
        self.reducer = Some(reducer.map_err(failed("building the gradient reducer"))?);
        Ok(())
    }

    /// Before each forward in training.
    pub fn before_forward(&self) -> Result<(), DistError> {
        let Some(reducer) = &self.reducer else { return Ok(()) };
        reducer.before_forward().map_err(failed("preparing the forward pass"))
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

    /// Overwrites the tensors of all ranks with rank 0's.
    pub fn broadcast<'a>(
        &self,
        tensors: impl Iterator<Item = &'a Tensor>,
    ) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.broadcast(tensors).map_err(failed("broadcasting buffers"))
    }

    /// Sums a tensor over all ranks, in place.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.sum(tensor).map_err(failed("summing over ranks"))
    }

    /// Waits until all ranks are here.
    pub fn barrier(&self) -> Result<(), DistError> {
        let Some(group) = &self.group else { return Ok(()) };
        group.barrier().map_err(failed("waiting for the other ranks"))
    }
}
