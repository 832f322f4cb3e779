//! What launchers send each other, a line of JSON each, and the connections on which they do.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Offer;
use crate::{events::RankEvent, launch::supervise::ExitStatus};

/// An end that says nothing for so long is lost.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// How often each end says that it is there.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// The longest line: an offer has a recipe, and the end of a rank has the last lines of its log.
const MAX_LINE: usize = 1 << 20;
/// The longest first line, before the other end has proved anything, and the time for it.
const MAX_FIRST_LINE: usize = 1 << 12;
const FIRST_LINE: Duration = Duration::from_secs(10);

/// What node 0 says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FromFirst {
    /// The first line: a number, and the version of mlperf-run.
    Challenge { number: String, version: String },
    /// The node is let in, by one that knows the key.
    Welcome { proof: String, host: String },
    /// The node is not let in.
    Reject { reason: String },
    /// A run is to be made ready.
    Offer(Box<Offer>),
    /// All nodes are ready: its ranks may start.
    Start,
    /// A rank gets SIGTERM.
    Terminate { rank: usize },
    /// A rank gets SIGKILL.
    Kill { rank: usize },
    /// There are no more runs. Every node ends with this exit code.
    End { code: u8 },
    /// It is there.
    Beat,
}

/// What the other nodes say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FromNode {
    /// The answer to the challenge, with a number for node 0 to prove itself.
    Hello { node: usize, num_nodes: usize, host: String, number: String, proof: String },
    /// Its ranks can start. `sees_run` says whether it sees the folder that node 0 has made.
    Ready { sees_run: bool },
    /// It cannot take part.
    Refuse { reason: String },
    /// A rank reports.
    Event { rank: usize, event: RankEvent },
    /// A rank has ended.
    Gone { rank: usize, exit_status: ExitStatus, log_tail: String },
    /// The states of its ranks' processes, as `/proc/PID/stat` writes them.
    States { states: Vec<(usize, char)> },
    /// Somebody interrupts it.
    Interrupted,
    /// It is there.
    Beat,
}

/// The sending half of a connection.
#[derive(Clone)]
pub(super) struct Sending(Arc<Mutex<TcpStream>>);

impl Sending {
    /// Sends a message. What happens to one that cannot be sent, the receiving half finds out.
    pub(super) fn send(&self, message: &impl Serialize) {
        let mut line = serde_json::to_string(message).expect("messages are JSON");
        line.push('\n');
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stream.write_all(line.as_bytes()).is_err() {
            // The other end would read half a line.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Sends `beat` every second until the connection is closed.
    pub(super) fn keep_alive(&self, beat: impl Serialize + Send + 'static) {
        let weak = Arc::downgrade(&self.0);
        thread::spawn(move || {
            while let Some(stream) = weak.upgrade() {
                Self(stream).send(&beat);
                thread::sleep(BEAT);
            }
        });
    }
}

/// The receiving half of a connection.
pub(super) struct Receiving(BufReader<TcpStream>);

impl Receiving {
    /// The next message. An end that is silent for ten seconds is an error, as is a message that is none.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        self.read(MAX_LINE, None)
    }

    /// The first message, which must be short and come soon.
    pub(super) fn first<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        self.read(MAX_FIRST_LINE, Some(Instant::now() + FIRST_LINE))
    }

    fn read<T: DeserializeOwned>(
        &mut self,
        max_bytes: usize,
        deadline: Option<Instant>,
    ) -> io::Result<T> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let bytes = self.0.fill_buf()?;
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            line.extend_from_slice(&bytes[..end]);
            self.0.consume(end);
            let is_late = deadline.is_some_and(|deadline| Instant::now() > deadline);
            if end == 0 || line.len() > max_bytes || is_late {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

/// Both halves of a new connection.
pub(super) fn halves(stream: TcpStream) -> io::Result<(Sending, Receiving)> {
    // A socket that was accepted may inherit this from the listener.
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let receiving = Receiving(BufReader::new(stream.try_clone()?));
    Ok((Sending(Arc::new(Mutex::new(stream))), receiving))
}
