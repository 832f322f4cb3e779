//! All terminal output: results on standard output, everything else on standard error.
//!
//! Progress bars appear only on a terminal, `NO_COLOR` disables colour, and a closed pipe (`|
//! head`) is not an error.

mod columns;
mod counter;
mod course;
mod manner;
mod numbers;
mod paint;
mod print;
mod screen;
mod table;

pub use columns::{Column, aligned};
pub use counter::Counter;
pub use manner::Manner;
pub use numbers::{counted, grouped, percent};
pub use paint::{Paint, painted};
pub use print::{note, result};
pub use screen::Screen;
pub use table::table;
