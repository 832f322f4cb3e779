//! Colours text on a terminal.

use std::{
    env,
    io::{IsTerminal, stdout},
};

/// The meaning of a coloured word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Green.
    Good,
    /// Red.
    Bad,
    /// Yellow.
    Doubtful,
    /// Bold.
    Heading,
}

/// `text` in colour if standard output is a terminal and `NO_COLOR` is not set; otherwise
/// unchanged.
pub fn painted(text: &str, paint: Paint) -> String {
    let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
        && stdout().is_terminal();
    if !wanted {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Good => "32",
        Paint::Bad => "31",
        Paint::Doubtful => "33",
        Paint::Heading => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
