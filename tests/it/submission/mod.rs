//! Packages and verdicts on them, beside the reference's tools.

mod package;
mod rounds;
mod tree;
mod verify;
