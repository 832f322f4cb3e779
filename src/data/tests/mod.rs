//! The data module against the libraries that it replaces.

mod golden;
