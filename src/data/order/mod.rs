//! Which rank sees which sample when, and the plan of each batch.

pub(in crate::data) mod plan;
pub(in crate::data) mod sampler;
pub(in crate::data) mod torch;
