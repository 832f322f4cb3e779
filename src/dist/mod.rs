//! Data parallelism: who is in the world, and how gradients become means over it.

pub mod c10d;
mod ddp;
mod world;

pub use ddp::{BufferSync, Ddp, DistError, Shared};
pub use world::{World, WorldError};
