//! The only places that print.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing lives")]

/// Prints a result to standard output, with a line end.
pub fn result(text: impl std::fmt::Display) {
    println!("{text}");
}

/// Tells the person at the terminal something, on standard error.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}
