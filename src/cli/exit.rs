//! Exit codes: part of what users can rely on.

use std::{fmt, process::ExitCode};

/// How the program ends. Every code has a test that provokes it. Of the orderly ends of several
/// runs the greatest is the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A bug of this program.
    Bug = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// The recipe, the data set or another input is not valid, or the machine lacks what it asks
    /// for.
    Invalid = 3,
    /// A log or a submission breaks a rule.
    NotCompliant = 4,
    /// The run ended in good order without reaching the target.
    TargetMissed = 5,
    /// A rank failed.
    RankFailed = 6,
    /// Interrupted; what was measured is kept.
    Incomplete = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error and the code it ends the program with.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What is shown, as a chain.
    pub error: anyhow::Error,
}

/// The chain from the outside in. A cause that an outer message quotes already is not repeated.
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

/// What every verb returns.
pub type Outcome = Result<Exit, Failure>;

/// Gives an error its exit code.
pub trait OrExit<T> {
    /// The value, or the error with `exit`.
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
    fn a_chain_is_said_from_the_outside_in_and_nothing_twice() {
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
