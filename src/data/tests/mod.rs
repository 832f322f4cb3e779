//! Compares the data plane with the libraries that it replaces.

mod augment;
mod golden;
