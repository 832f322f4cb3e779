//! Everything a human sees: results on standard output, everything else on standard error.
//!
//! Bars move on a terminal only, nothing is coloured where `NO_COLOR` is set, and a reader that
//! goes away (`| head`) is no failure.

mod numbers;
mod print;
mod screen;
mod table;

pub use numbers::counted;
pub use print::{note, result};
pub use screen::{Counter, Manner, Screen};
pub use table::table;
