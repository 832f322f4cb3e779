//! Turns SIGINT, SIGTERM and SIGHUP into messages.

use std::{fs, thread};

use crossbeam_channel::{Receiver, unbounded};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use super::LaunchError;

/// The signal listener. Once it exists, the signals no longer end the program by themselves, so
/// it is created just before the first rank starts.
#[derive(Debug)]
pub struct Interrupts {
    signals: Receiver<()>,
}

impl Interrupts {
    /// Starts to listen.
    pub fn listen() -> Result<Self, LaunchError> {
        // A terminal that closes sends SIGHUP. `nohup` has it ignored, and that must stay so.
        let hang_up = Some(SIGHUP).filter(|signal| !is_ignored(*signal));
        let signals = [SIGINT, SIGTERM].into_iter().chain(hang_up);
        let mut caught = Signals::new(signals)
            .map_err(|source| LaunchError::Io { what: "listen for signals".to_owned(), source })?;
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

/// Whether this process was started with `signal` ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}
