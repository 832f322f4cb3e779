//! Writes records with a clock's times, one whole line at a time.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use super::Key;
use super::event::Event;

/// A source of the current time.
pub trait Clock: Send {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// The system clock.
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
    /// The write failed.
    #[error("cannot write {} to the MLPerf log; free the disk or choose another results folder",
            key.as_str())]
    Write {
        /// The key of the record.
        key: Key,
        /// The I/O error.
        source: io::Error,
    },
    /// JSON cannot represent the number.
    #[error("cannot log {} = {value}: it is not a finite number", key.as_str())]
    NotFinite {
        /// The key of the record.
        key: Key,
        /// The number.
        value: f64,
    },
    /// The record is not allowed after the previous ones.
    #[error("cannot log {} now: {reason}", key.as_str())]
    Order {
        /// The key of the record.
        key: Key,
        /// The reason.
        reason: &'static str,
    },
}

/// Writes records. If the clock steps back, the latest time seen is used instead.
pub(super) struct Sink {
    writer: Box<dyn Write + Send>,
    clock: Box<dyn Clock>,
    latest_ms: u64,
}

impl Sink {
    pub(super) fn new(writer: Box<dyn Write + Send>, clock: Box<dyn Clock>) -> Self {
        Self { writer, clock, latest_ms: 0 }
    }

    /// Writes and flushes one line in one call. Returns its time in ms.
    pub(super) fn put(&mut self, event: &Event) -> Result<u64, MllogError> {
        self.latest_ms = self.latest_ms.max(self.clock.now_ms());
        self.writer
            .write_all(&event.line(self.latest_ms))
            .and_then(|()| self.writer.flush())
            .map_err(|source| MllogError::Write { key: event.key, source })?;
        Ok(self.latest_ms)
    }
}
