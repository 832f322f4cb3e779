//! The bridge to libtorch's C++: process groups, the gradient reducer, fused steps, autocast.
//! The only C++ of the project stands beside this file.

mod bridge;
mod lists;

pub use bridge::{
    Autocast, BridgeError, Group, HalfKind, Params, Reducer, Rendezvous, SgdStep, is_channels_last,
    load_cuda, rng_state, set_channels_last, set_rng_state, torch_version,
};
pub use lists::TensorList;
