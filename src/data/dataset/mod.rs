//! Opening a data set at a path, and reading its spans.

pub(in crate::data) mod multi_resolution;
pub(in crate::data) mod open;
pub(in crate::data) mod span_reader;
