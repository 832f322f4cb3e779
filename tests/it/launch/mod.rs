//! Runs from the command line to their results, with ranks that are shell scripts.

mod ends;
mod nodes;
mod refused;
mod results;
mod stage;
