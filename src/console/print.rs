//! The only functions that print.

use std::{
    fmt::Display,
    io::{ErrorKind, Write, stderr, stdout},
};

/// Prints a result and a line end to standard output. A closed pipe is ignored; every other write
/// error panics, because a result would be lost.
pub fn result(text: impl Display) {
    if let Err(error) = writeln!(stdout(), "{text}") {
        assert!(error.kind() == ErrorKind::BrokenPipe, "cannot write to standard output: {error}");
    }
}

/// Prints a note for the user to standard error.
pub fn note(text: impl Display) {
    // If this fails, there is no way left to report it.
    let _ = writeln!(stderr(), "{text}");
}
