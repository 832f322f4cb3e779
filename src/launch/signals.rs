//! SIGINT and SIGTERM become messages.

use std::thread;

use crossbeam_channel::{Receiver, unbounded};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::LaunchError;

/// The listener. From its creation to the end of the program the two signals no longer end the
/// program by themselves, so it is made when the first rank is about to start.
#[derive(Debug)]
pub struct Interrupts {
    signals: Receiver<()>,
}

impl Interrupts {
    /// Begins to listen.
    pub fn listen() -> Result<Self, LaunchError> {
        let mut caught = Signals::new([SIGINT, SIGTERM]).map_err(|source| LaunchError::Io {
            what: "listen for SIGINT and SIGTERM".to_owned(),
            source,
        })?;
        let (send, signals) = unbounded();
        thread::spawn(move || caught.forever().take_while(|_| send.send(()).is_ok()).count());
        Ok(Self { signals })
    }

    /// A signal has come that no run has dealt with.
    pub(super) fn pending(&self) -> bool {
        !self.signals.is_empty()
    }

    pub(super) fn channel(&self) -> &Receiver<()> {
        &self.signals
    }
}
