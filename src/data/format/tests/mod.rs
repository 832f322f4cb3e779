//! Tests of the readers of folders, archives and shards.

mod containers;
mod fixtures;
mod found;
