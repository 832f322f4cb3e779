//! The store: pictures packed once, trained from many times.
//!
//! Arrow IPC streams, which Hugging Face's `datasets` and pyarrow open and the loader trains from
//! in place. Training pictures are shuffled once; JPEGs are rewritten without loss as sequential
//! code with restart markers, which decodes fastest; damage has been found out. A manifest
//! names what was changed or left out and carries a hash of each shard.

mod error;
mod import;
mod manifest;
pub(super) mod picture;
mod shard;
#[cfg(test)]
mod tests;
pub(super) mod unpack;

pub use error::StoreError;
pub use import::{Import, OnBad, import, open_source};
pub use manifest::{Division, Manifest, Note, ShardRecord, division_of, sha256_of, verify};
