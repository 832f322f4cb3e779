//! Runs from the command line to their results, with ranks that are shell scripts.

mod doctor;
mod ends;
mod metrics;
mod nodes;
mod refused;
pub(crate) mod report;
mod results;
pub(crate) mod stage;
mod watch;
