//! Readers of folders, archives and shards.

mod containers;
mod fixtures;
