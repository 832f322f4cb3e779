//! Everything that is tested from outside: one binary.

mod cli;
#[cfg(feature = "torch")]
mod golden;
mod launch;
mod recipe;
