//! Tests of the built-in image set.

mod shortcuts;
