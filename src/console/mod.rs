//! Everything a human sees: results on standard output, everything else on standard error.
//!
//! Bars move on a terminal only, nothing is coloured where `NO_COLOR` is set, and a reader that
//! goes away (`| head`) is no failure.

mod columns;
mod numbers;
mod paint;
mod print;
mod screen;
mod table;

pub use columns::{Column, aligned};
pub use numbers::counted;
pub use paint::{Paint, painted};
pub use print::{note, result};
pub use screen::{Counter, Manner, Screen};
pub use table::table;
