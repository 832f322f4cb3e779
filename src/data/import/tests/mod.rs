//! Tests of imports: the contents of a store, and which stores are used.

mod content;
mod stores;
mod turned;
