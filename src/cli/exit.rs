//! Exit codes: part of what users can rely on.

use std::process::ExitCode;

/// How the program ends. Every code has a test that provokes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A bug of this program.
    Bug = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// The recipe, the data set or another input is not valid, or the machine lacks what it asks for.
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
