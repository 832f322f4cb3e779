//! Previews of a data set, loader benchmarks, and a diagnosis of data stalls.

pub mod bench;
pub(in crate::data) mod cold;
pub(in crate::data) mod diagnosis;
pub mod inspect;
