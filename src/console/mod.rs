//! Everything a human sees: results on standard output, everything else on standard error.

mod print;

pub use print::{note, result};
