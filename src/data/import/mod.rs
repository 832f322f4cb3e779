//! Importing a data set into a store: Arrow shards and their manifest.

mod lock;
pub(in crate::data) mod pack;
pub(in crate::data) mod parquet;
mod progress;
pub(in crate::data) mod rewrite;
pub(in crate::data) mod shard_writer;
mod source;
#[cfg(test)]
mod tests;
mod val_share;

pub use crate::data::config::{Exif, OnBad, StoreDivision};
pub use pack::import;
pub use source::{Import, open_source};

pub use crate::data::format::error::StoreError;
pub use crate::data::format::manifest::{
    Manifest, Note, ShardRecord, identity_of, manifest_of, stores_in, verify,
};
