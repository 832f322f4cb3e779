//! The command line: clap types, one file per verb, exit codes.

pub mod data;
pub mod exit;
