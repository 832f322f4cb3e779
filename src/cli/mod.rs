//! The command line: clap types, one file per verb, exit codes.

pub mod exit;
pub mod plan;
