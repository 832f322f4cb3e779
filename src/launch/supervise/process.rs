//! A rank's process as the supervisor sees it: what it can do to it, and what it learns about it.

use serde::{Deserialize, Serialize};

use crate::events::RankEvent;

/// A rank's process as the supervisor sees it.
pub(in crate::launch) trait Process {
    /// Asks it to stop (SIGTERM).
    fn terminate(&mut self);
    /// Ends it (SIGKILL).
    fn kill(&mut self);
    /// Its state, as `/proc/PID/stat` writes it.
    fn state(&self) -> Option<char>;
    /// The last lines it wrote to its log.
    fn log_tail(&self) -> String;
    /// Its host, if it is another one.
    fn host(&self) -> Option<&str>;
}

/// What the supervisor learns about a rank.
#[derive(Clone, Debug)]
pub(in crate::launch) enum ProcessEvent {
    /// It sent an event.
    Event(RankEvent),
    /// It has ended, after sending all its events.
    Gone(ExitStatus),
    /// Somebody interrupts the launcher of its host.
    Interrupted,
}

impl<P: Process + ?Sized> Process for Box<P> {
    fn terminate(&mut self) {
        (**self).terminate();
    }

    fn kill(&mut self) {
        (**self).kill();
    }

    fn state(&self) -> Option<char> {
        (**self).state()
    }

    fn log_tail(&self) -> String {
        (**self).log_tail()
    }

    fn host(&self) -> Option<&str> {
        (**self).host()
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::launch) enum ExitStatus {
    /// It returned an exit code.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
    /// Nobody knows, because the launcher of its host cannot be reached.
    Lost,
}
