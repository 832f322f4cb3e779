//! Everything that is tested from outside: one binary.

#[cfg(feature = "torch")]
mod golden;
//! One integration binary: the command line, recipes, and runs end to end.

mod recipe;
