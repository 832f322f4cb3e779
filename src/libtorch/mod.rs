//! The bridge to libtorch's C++: process groups, the gradient reducer, fused optimizer steps,
//! autocast and CUDA graphs. This folder has the only C++ of the project.

mod bridge;
mod device;
pub mod kernels;
mod lists;
mod node;
#[cfg(test)]
pub(crate) mod noise;
mod params;

pub use bridge::{
    Autocast, BridgeError, Group, GroupTimeouts, HalfKind, Math, Reducer, Rendezvous,
    is_channels_last, rng_state, set_channels_last, set_rng_state, torch_version,
};
pub use device::{Capturing, Graph, Readout, Ring, load_cuda, peak_gpu_bytes, use_gpu};
pub use lists::{TensorList, cast};
pub use node::{ConvBackward, attach_node};
pub use params::{AdamStep, LarsStep, Moments, MuonStep, Params, SgdStep, StepNow};
