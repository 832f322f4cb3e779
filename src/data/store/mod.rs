//! The store: images packed once, trained from many times.
//!
//! Arrow IPC streams, which Hugging Face's `datasets` and pyarrow open and the loader trains from
//! in place. Training images are shuffled once; JPEGs are rewritten without loss as sequential
//! code with restart markers, which decodes fastest; damage has been found out. A manifest
//! names what was changed or left out and carries a hash of each shard.

mod error;
mod import;
mod manifest;
mod progress;
pub(super) mod rewrite;
mod shard;
#[cfg(test)]
mod tests;
pub(super) mod unpack;
#[cfg(test)]
mod use_tests;

pub use error::StoreError;
pub use import::{Import, OnBad, import, open_source};
pub(super) use manifest::has_manifest;
pub use manifest::{
    Division, Manifest, Note, ShardRecord, identity_of, manifest_of, sha256_of, stores_in, verify,
};
pub(super) use shard::division_in;
