//! The built-in data set.

mod shortcuts;
