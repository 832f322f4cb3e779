//! Tests of the synthetic data set.

mod shortcuts;
