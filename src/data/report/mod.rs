//! What a data set looks like, how fast it is read, and what a run waits for.

pub mod bench;
pub(in crate::data) mod cold;
pub(in crate::data) mod diagnosis;
pub mod inspect;
