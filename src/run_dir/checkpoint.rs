//! The checkpoints of a run, from which it can be resumed.
//!
//! ```text
//! run_N/checkpoints/step_M/rank_K.safetensors   tensors of rank K after step M
//! run_N/checkpoints/step_M/rank_K.json          its stamp, written last
//! ```
//!
//! Rank 0 saves everything. The other ranks save only what differs from rank to rank, such as batch
//! norm's statistics. A checkpoint is whole if the stamps of all ranks are there.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::hash;

/// The folder of all checkpoints, in a run's folder.
const FOLDER: &str = "checkpoints";

/// What a rank says about its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointStamp {
    /// Number of ranks of the run.
    pub world_size: usize,
    /// SHA-256 of the rank's tensors.
    pub sha256: String,
    /// The state of the run; rank 0 knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunState>,
}

/// How far a run has come, as rank 0 sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// When the clock was started, ms since the Unix epoch.
    pub start_ms: u64,
    /// Length of the MLPerf log, bytes.
    pub log_bytes: u64,
    /// Whether the epoch of the last step is over, with its evaluation.
    pub epoch_is_over: bool,
}

/// A checkpoint of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    /// Updates made before it.
    pub step: usize,
    folder: PathBuf,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the disk and the file's permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder of the new run has a log.
    #[error("cannot create {}: {source}; name an empty folder for the resumed run", path.display())]
    Occupied {
        /// The log.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A stamp or tensors are not what was written.
    #[error("{} is damaged: {reason}; remove the folder of this checkpoint to use the one before it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Checkpoint {
    /// The checkpoint of the run in `run_dir` after `step` updates.
    pub fn new(run_dir: &Path, step: usize) -> Self {
        Self { step, folder: run_dir.join(FOLDER).join(format!("step_{step}")) }
    }

    /// The checkpoint in `folder`.
    pub fn at(folder: &Path) -> Option<Self> {
        let step = folder.file_name()?.to_str()?.strip_prefix("step_")?.parse().ok()?;
        Some(Self { step, folder: folder.to_owned() })
    }

    /// The whole checkpoints of the run in `run_dir`, oldest first.
    pub fn all(run_dir: &Path) -> Vec<Self> {
        let mut found = Self::folders(run_dir);
        found.retain(Self::is_whole);
        found.sort_unstable();
        found
    }

    /// Removes what is older than the newest `keep` whole checkpoints of the run in `run_dir`. Ranks may
    /// still be writing to a newer one.
    pub fn remove_old(run_dir: &Path, keep: usize) {
        let whole = Self::all(run_dir);
        let Some(oldest) = whole.len().checked_sub(keep).map(|at| whole[at].step) else { return };
        for old in Self::folders(run_dir).iter().filter(|old| old.step < oldest) {
            // It only takes space. The next call tries again.
            let _ = fs::remove_dir_all(&old.folder);
        }
    }

    /// Checkpoints that are whole or not.
    fn folders(run_dir: &Path) -> Vec<Self> {
        let entries = fs::read_dir(run_dir.join(FOLDER)).into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::at(&entry.path())).collect()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The tensors of `rank`.
    pub fn tensors(&self, rank: usize) -> PathBuf {
        self.folder.join(format!("rank_{rank}.safetensors"))
    }

    /// The stamp of `rank`.
    pub fn stamp_file(&self, rank: usize) -> PathBuf {
        self.folder.join(format!("rank_{rank}.json"))
    }

    /// Reads the stamp of `rank`.
    pub fn stamp(&self, rank: usize) -> Result<CheckpointStamp, CheckpointError> {
        let path = self.stamp_file(rank);
        let text =
            fs::read(&path).map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
        serde_json::from_slice(&text)
            .map_err(|error| CheckpointError::Damaged { path, reason: error.to_string() })
    }

    /// Reads the tensors of `rank` and compares their hash with the stamp's.
    pub fn read(&self, rank: usize) -> Result<Vec<u8>, CheckpointError> {
        let (stamp, path) = (self.stamp(rank)?, self.tensors(rank));
        let bytes =
            fs::read(&path).map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
        if hash::sha256(&bytes) == stamp.sha256 {
            return Ok(bytes);
        }
        let reason = "its SHA-256 is not the one in its stamp".to_owned();
        Err(CheckpointError::Damaged { path, reason })
    }

    /// Copies the MLPerf log of its run, up to the checkpoint, to `path`.
    pub fn copy_log(&self, path: &Path) -> Result<(), CheckpointError> {
        let run_dir = self.folder.parent().and_then(Path::parent).unwrap_or(Path::new("."));
        let num_bytes = self.stamp(0)?.run.map_or(0, |run| run.log_bytes);
        let from = run_dir.join(super::LOG);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CheckpointError::Io { path, source }
        };
        let mut log = File::open(&from).map_err(failed(&from))?.take(num_bytes);
        let mut copy = File::create_new(path)
            .map_err(|source| CheckpointError::Occupied { path: path.to_owned(), source })?;
        if io::copy(&mut log, &mut copy).map_err(failed(&from))? < num_bytes {
            let reason = format!("it has less than the {num_bytes} bytes of the checkpoint");
            return Err(CheckpointError::Damaged { path: from, reason });
        }
        Ok(())
    }

    /// Compares the hash of every rank's tensors with its stamp.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        let world_size = self.stamp(0)?.world_size;
        (0..world_size).try_for_each(|rank| self.read(rank).map(drop))
    }

    fn is_whole(&self) -> bool {
        let stamp = self.stamp(0);
        stamp.is_ok_and(|stamp| {
            stamp.world_size > 0 && (1..stamp.world_size).all(|rank| self.stamp(rank).is_ok())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(checkpoint: &Checkpoint, rank: usize, bytes: &[u8]) {
        fs::create_dir_all(checkpoint.folder()).unwrap();
        fs::write(checkpoint.tensors(rank), bytes).unwrap();
        let stamp = CheckpointStamp { world_size: 2, sha256: hash::sha256(bytes), run: None };
        let text = serde_json::to_string(&stamp).unwrap();
        fs::write(checkpoint.stamp_file(rank), text).unwrap();
    }

    #[test]
    fn a_checkpoint_is_whole_once_every_rank_has_stamped_it() {
        let run_dir = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::all(run_dir.path()), []);
        let [early, late, half] = [9, 100, 200].map(|step| Checkpoint::new(run_dir.path(), step));
        for checkpoint in [&late, &early] {
            save(checkpoint, 0, b"zero");
            save(checkpoint, 1, b"one");
        }
        save(&half, 0, b"zero");
        assert_eq!(Checkpoint::all(run_dir.path()), [early, late]);
    }

    #[test]
    fn damaged_tensors_are_noticed() {
        let run_dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::new(run_dir.path(), 9);
        save(&checkpoint, 0, b"zero");
        save(&checkpoint, 1, b"one");
        checkpoint.verify().unwrap();
        assert_eq!(checkpoint.read(1).unwrap(), b"one");
        fs::write(checkpoint.tensors(1), "two").unwrap();
        let error = checkpoint.verify().unwrap_err().to_string();
        assert!(error.contains("rank_1.safetensors is damaged: its SHA-256"), "{error}");
    }

    #[test]
    fn what_is_older_than_the_kept_ones_is_removed() {
        let run_dir = tempfile::tempdir().unwrap();
        let steps = [1, 2, 3, 4, 5].map(|step| Checkpoint::new(run_dir.path(), step));
        for (checkpoint, num_ranks) in steps.iter().zip([2, 1, 2, 2, 1]) {
            (0..num_ranks).for_each(|rank| save(checkpoint, rank, b"numbers"));
        }
        Checkpoint::remove_old(run_dir.path(), 4);
        assert_eq!(Checkpoint::all(run_dir.path()).len(), 3, "there are no more than four");
        Checkpoint::remove_old(run_dir.path(), 2);
        let left = steps.map(|checkpoint| checkpoint.folder().exists());
        assert_eq!(left, [false, false, true, true, true], "ranks may still write to step 5");
    }
}
