//! The order of samples per rank and epoch, and the plan of each batch.

pub(in crate::data) mod plan;
pub(in crate::data) mod sampler;
pub(in crate::data) mod torch;
