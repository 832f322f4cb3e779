//! The option `--threads`: its parser and its default.

use clap::builder::RangedU64ValueParser;

use crate::data::MAX_THREADS;

/// Parses a number of threads that a machine can start.
pub(super) fn parser() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MAX_THREADS as u64)
}

/// Cores that this process may use.
pub(super) fn num_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
