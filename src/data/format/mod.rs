//! Readers of data set formats. Each finds samples as spans of files.

pub(in crate::data) mod arrow;
pub(in crate::data) mod error;
pub(in crate::data) mod ffcv;
pub(in crate::data) mod folder;
pub(in crate::data) mod labels;
pub(in crate::data) mod manifest;
pub(in crate::data) mod mds;
pub(in crate::data) mod names;
pub(in crate::data) mod recordio;
pub(in crate::data) mod shards;
pub(in crate::data) mod tar;
pub(in crate::data) mod tfrecord;

#[cfg(test)]
mod tests;
