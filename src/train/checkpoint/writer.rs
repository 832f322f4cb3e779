//! Writes checkpoints on a thread of its own, so that training does not wait for the disk.

use std::{
    fs::{self, File},
    path::PathBuf,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use tch::Tensor;

use super::super::tensor_file;
use crate::{
    atomic_file, hash,
    libtorch::Readout,
    model::Named,
    run_dir::{Checkpoint, CheckpointStamp, LOG, RunState},
};

/// A rank's part of a checkpoint.
pub(super) struct Part {
    pub(super) checkpoint: Checkpoint,
    pub(super) rank: usize,
    pub(super) world_size: usize,
    /// Rank 0 knows it.
    pub(super) run: Option<RunState>,
    /// Copies, on their device.
    pub(super) tensors: Vec<Named>,
    /// Has its value once the device has made the copies. This thread has another stream.
    pub(super) copied: Readout,
}

/// What became of a part: its checkpoint, or why it is not written.
pub(super) type Written = Result<Checkpoint, String>;

/// The thread and its channels.
pub(super) struct Writer {
    parts: Sender<Part>,
    written: Receiver<Written>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// A writer. With `(run_dir, keep)`, it also removes all checkpoints of that run but the newest ones.
    pub(super) fn start(tidy: Option<(PathBuf, usize)>) -> Self {
        // One part may wait while another one is written.
        let (parts, to_write) = bounded::<Part>(1);
        let (report, written) = unbounded();
        let thread = thread::spawn(move || {
            for part in to_write {
                // The length of the log is in the stamp, so the log must be on the disk first.
                if let Some(log) = tidy.as_ref().map(|(run_dir, _)| run_dir.join(LOG)) {
                    let _ = File::open(log).and_then(|log| log.sync_data());
                }
                let outcome = write(&part).map(|()| part.checkpoint.clone()).inspect_err(|_| {
                    // It stays if a rank has written something there.
                    let _ = fs::remove_dir(part.checkpoint.folder());
                });
                if let Some((run_dir, keep)) = &tidy {
                    Checkpoint::remove_old(run_dir, *keep);
                }
                // Nobody listens after the run.
                let _ = report.send(outcome);
            }
        });
        Self { parts, written, thread }
    }

    /// Whether there is space for another part.
    pub(super) fn is_free(&self) -> bool {
        !self.parts.is_full()
    }

    /// Hands a part over; waits unless the writer is free.
    pub(super) fn write(&self, part: Part) -> Result<(), String> {
        self.parts.send(part).map_err(|_| "its thread panicked".to_owned())
    }

    /// What has been written since the last call.
    pub(super) fn written(&self) -> impl Iterator<Item = Written> {
        self.written.try_iter()
    }

    /// Waits until everything is written.
    pub(super) fn finish(self) -> Vec<Written> {
        drop(self.parts);
        // A panic was reported to standard error.
        let _ = self.thread.join();
        self.written.try_iter().collect()
    }
}

/// Writes tensors first and the stamp last.
fn write(part: &Part) -> Result<(), String> {
    let Part { checkpoint, rank, .. } = part;
    part.copied.value().map_err(|error| error.to_string())?;
    if let Some((name, _)) = part.tensors.iter().find(|(_, tensor)| !is_finite(tensor)) {
        return Err(format!("{name} has numbers that are not finite"));
    }
    let bytes = tensor_file::encode(&part.tensors, None)?;
    let stamp = CheckpointStamp {
        world_size: part.world_size,
        sha256: hash::sha256(&bytes),
        run: part.run,
    };
    let stamp = serde_json::to_vec_pretty(&stamp).expect("text and numbers are JSON");
    fs::create_dir_all(checkpoint.folder())
        .and_then(|()| atomic_file::write(&checkpoint.tensors(*rank), &bytes))
        .and_then(|()| atomic_file::write(&checkpoint.stamp_file(*rank), &stamp))
        .map_err(|error| format!("{}: {error}", checkpoint.folder().display()))
}

/// Whether training can go on from the numbers of `tensor`.
fn is_finite(tensor: &Tensor) -> bool {
    !tensor.is_floating_point() || tensor.isfinite().all().int64_value(&[]) == 1
}
