//! The command line: clap types, one file per verb, exit codes.

pub mod check;
pub mod exit;
pub mod plan;
#[cfg(feature = "torch")]
pub mod rank;
