//! Everything that is tested from outside: one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod check;
mod cli;
#[cfg(feature = "torch")]
mod golden;
mod launch;
mod oracle;
mod recipe;
