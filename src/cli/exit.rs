//! Exit codes, which are part of the public interface.

use std::{fmt, process::ExitCode};

/// How the program ends. Every code has a test that provokes it. Of several runs that end normally,
/// the highest code counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A bug of this program.
    Bug = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// The recipe, the data set or another input is invalid, or the machine lacks something they
    /// require.
    Invalid = 3,
    /// A log or a submission breaks a rule.
    NotCompliant = 4,
    /// The run ended normally without reaching the target.
    TargetMissed = 5,
    /// A rank failed.
    RankFailed = 6,
    /// Interrupted; the results so far are kept.
    Incomplete = 7,
}

impl Exit {
    /// The exit that has this code; one of a newer version is a bug here.
    pub fn from_code(code: u8) -> Self {
        let all = [
            Self::Ok,
            Self::Bug,
            Self::Usage,
            Self::Invalid,
            Self::NotCompliant,
            Self::TargetMissed,
            Self::RankFailed,
            Self::Incomplete,
        ];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Bug)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error and the exit code it leads to.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The error to show, with its causes.
    pub error: anyhow::Error,
}

/// The error and its causes, outermost first. A cause that an outer message contains already is not
/// repeated.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            if said.is_empty() {
                said = cause;
            } else if !said.contains(&cause) {
                said = format!("{said}: {cause}");
            }
        }
        f.write_str(&said)
    }
}

/// The return type of every command.
pub type Outcome = Result<Exit, Failure>;

/// Gives an error its exit code.
pub trait OrExit<T> {
    /// Returns the value, or the error with the code `exit`.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    #[test]
    fn a_chain_is_printed_outermost_first_without_repetition() {
        let disk = || io::Error::other("no space");
        let plain: Result<(), _> = Err(disk()).context("cannot write x");
        assert_eq!(
            plain.or_exit(Exit::Invalid).unwrap_err().to_string(),
            "cannot write x: no space"
        );
        let quoting: Result<(), _> = Err(disk()).context("cannot write x (no space); use y");
        let failure = quoting.or_exit(Exit::Invalid).unwrap_err();
        assert_eq!(failure.to_string(), "cannot write x (no space); use y");
    }
}
