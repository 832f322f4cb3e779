//! Everything that is tested from outside: one binary.

mod check;
mod cli;
#[cfg(feature = "torch")]
mod golden;
mod launch;
mod oracle;
mod recipe;
