//! Where records go: a writer, a clock, and one whole line at a time.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Key;
use super::event::Event;

/// Tells the time.
pub trait Clock: Send {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_millis() as u64
    }
}

/// Why a record was not logged.
#[derive(Debug, thiserror::Error)]
pub enum MllogError {
    /// The file system refused.
    #[error("cannot write {} to the MLPerf log; free the disk or name another results folder",
            key.as_str())]
    Write {
        /// What was to be logged.
        key: Key,
        /// Why not.
        source: io::Error,
    },
    /// JSON has no such number.
    #[error("cannot log {} = {value}: it is not a finite number", key.as_str())]
    NotFinite {
        /// What was to be logged.
        key: Key,
        /// The number.
        value: f64,
    },
    /// The record does not fit what was logged before it.
    #[error("cannot log {} now: {reason}", key.as_str())]
    Order {
        /// What was to be logged.
        key: Key,
        /// What is missing or in the way.
        reason: &'static str,
    },
}

/// Writes records. A clock that steps back is held at the latest time seen.
pub(super) struct Sink {
    writer: Box<dyn Write + Send>,
    clock: Box<dyn Clock>,
    latest_ms: u64,
}

impl Sink {
    pub(super) fn new(writer: Box<dyn Write + Send>, clock: Box<dyn Clock>) -> Self {
        Self { writer, clock, latest_ms: 0 }
    }

    /// Writes one line in one call, flushes it, and gives its time in ms.
    pub(super) fn put(&mut self, event: &Event) -> Result<u64, MllogError> {
        self.latest_ms = self.latest_ms.max(self.clock.now_ms());
        self.writer
            .write_all(&event.line(self.latest_ms))
            .and_then(|()| self.writer.flush())
            .map_err(|source| MllogError::Write { key: event.key, source })?;
        Ok(self.latest_ms)
    }
}
