//! Everything that is tested from outside: one binary.

mod check;
#[cfg(feature = "torch")]
mod golden;
mod oracle;
mod recipe;
