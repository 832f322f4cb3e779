//! Turns SIGINT and SIGTERM into messages.

use std::thread;

use crossbeam_channel::{Receiver, unbounded};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::LaunchError;

/// The signal listener. Once it exists, the two signals no longer end the program by themselves, so
/// it is created just before the first rank starts.
#[derive(Debug)]
pub struct Interrupts {
    signals: Receiver<()>,
}

impl Interrupts {
    /// Starts to listen.
    pub fn listen() -> Result<Self, LaunchError> {
        let mut caught = Signals::new([SIGINT, SIGTERM]).map_err(|source| LaunchError::Io {
            what: "listen for SIGINT and SIGTERM".to_owned(),
            source,
        })?;
        let (send, signals) = unbounded();
        thread::spawn(move || caught.forever().take_while(|_| send.send(()).is_ok()).count());
        Ok(Self { signals })
    }

    /// Whether a signal has arrived that no run has handled.
    pub(super) fn pending(&self) -> bool {
        !self.signals.is_empty()
    }

    pub(super) fn channel(&self) -> &Receiver<()> {
        &self.signals
    }
}
