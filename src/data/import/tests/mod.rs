//! Imports: what a store holds, and which stores are used.

mod content;
mod stores;
