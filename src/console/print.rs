//! The only places that print.

use std::{
    fmt::Display,
    io::{ErrorKind, Write, stderr, stdout},
};

/// Prints a result to standard output, with a line end. A reader that has gone away has had
/// enough; every other failure to write is loud, because a result would be lost.
pub fn result(text: impl Display) {
    if let Err(error) = writeln!(stdout(), "{text}") {
        assert!(error.kind() == ErrorKind::BrokenPipe, "cannot write to standard output: {error}");
    }
}

/// Tells the person at the terminal something, on standard error.
pub fn note(text: impl Display) {
    // There is nobody left to tell when this fails.
    let _ = writeln!(stderr(), "{text}");
}
