//! Data parallelism: who is in the world, and how gradients become means over it.

mod ddp;
mod world;

pub use ddp::{BufferSync, Ddp, DistError, Shared};
pub use world::{World, WorldError};
