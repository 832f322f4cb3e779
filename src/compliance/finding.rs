//! Findings: what is wrong with a log.

use std::fmt;

use super::code::{Code, Severity};
use crate::mllog::Key;

/// A problem of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of problem.
    pub code: Code,
    /// The key that it concerns.
    pub key: Option<&'static str>,
    /// Line of the file, from 1.
    pub line: Option<usize>,
    /// What is wrong, with the values. The fix is the code's.
    pub message: String,
}

impl Finding {
    pub(super) fn of(code: Code, key: Key, line: Option<usize>, message: String) -> Self {
        Self { code, key: Some(key.as_str()), line, message }
    }

    /// The severity of the code.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// What is wrong, and the fix.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; {}", self.message, self.code.cure())
    }
}
