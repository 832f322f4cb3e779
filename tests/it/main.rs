//! Everything that is tested from outside: one binary.

#[cfg(feature = "torch")]
mod golden;
mod cli;
mod launch;
mod recipe;
