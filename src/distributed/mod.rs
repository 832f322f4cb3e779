//! Data parallelism: the process's rank and world, and the averaging of gradients.

mod ddp;
mod world;

pub use ddp::{BufferSync, Ddp, DistError, Shared};
pub use world::{World, WorldError};
