//! `manifest.json`: what a store holds, what was changed, and hashes of its shards.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::StoreError;
use crate::data::stores;

/// Name of the file; written last, so a folder without it is no whole store.
pub(super) const MANIFEST: &str = "manifest.json";

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this file's form: 1.
    pub version: u32,
    /// Where a run on this store may be submitted.
    pub division: Division,
    /// Longest side of training pictures, px, where larger ones were shrunk.
    pub max_side: Option<usize>,
    /// Where the pictures came from.
    pub source: PathBuf,
    /// Of the order of training pictures.
    pub seed: u64,
    /// Names; the index is the label.
    pub classes: Vec<String>,
    /// Training pictures.
    pub num_train: usize,
    /// Validation pictures.
    pub num_eval: usize,
    /// The files.
    pub shards: Vec<ShardRecord>,
    /// Pictures that were decoded and compressed anew because they were no plain JPEG.
    pub mended: Vec<Note>,
    /// Bad pictures that were left out.
    pub skipped: Vec<Note>,
}

/// Where a run on a store may be submitted (MLPerf training rules, data set section).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Division {
    /// Reformatted without loss: both divisions.
    ClosedSafe,
    /// Training pictures were shrunk: the open division.
    OpenOnly,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Name, beside the manifest.
    pub file: String,
    /// Pictures.
    pub num_rows: usize,
    /// Length of the file.
    pub bytes: u64,
    /// Of the file, in hexadecimal digits.
    pub sha256: String,
}

/// A picture that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// The file, or as if its archive were a folder.
    pub path: PathBuf,
    /// What is odd about it.
    pub reason: String,
}

impl Manifest {
    /// Reads the manifest of the store in `folder`.
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(MANIFEST);
        let no = |reason: String| StoreError::NoManifest { path: path.clone(), reason };
        let text = fs::read_to_string(&path).map_err(|error| no(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| no(error.to_string()))
    }
}

/// Where a run on the data set in `folder` may be submitted; nothing where it is no store. Of several
/// stores, each of which some epoch may read, the narrowest holds.
pub fn division_of(folder: &Path) -> Option<Division> {
    let of = |folder: &Path| Manifest::read(folder).ok().map(|manifest| manifest.division);
    let several = stores::list(folder);
    let mut divisions = several.iter().filter_map(|(_, store)| of(store)).chain(of(folder));
    let first = divisions.next()?;
    Some(divisions.find(|&division| division == Division::OpenOnly).unwrap_or(first))
}

/// Reads every byte of the store in `folder` and compares; `progress` hears of bytes read.
pub fn verify(folder: &Path, progress: &dyn Fn(u64)) -> Result<Manifest, StoreError> {
    let manifest = Manifest::read(folder)?;
    let mut faults = Vec::new();
    let mut num_read = 0;
    for shard in &manifest.shards {
        let path = folder.join(&shard.file);
        // A manifest names files beside it, nothing else.
        let is_plain = Path::new(&shard.file).file_name().is_some_and(|name| *name == *shard.file);
        let hash =
            if is_plain { sha256_of(&path) } else { Err(io::Error::other("not a file name")) };
        match hash {
            Err(error) => faults.push(format!("{} ({error})", shard.file)),
            Ok(found) if found != (shard.bytes, shard.sha256.clone()) => {
                faults.push(format!("{} (other content)", shard.file));
            }
            Ok(_) => {}
        }
        num_read = u64::saturating_add(num_read, shard.bytes);
        progress(num_read);
    }
    if faults.is_empty() {
        return Ok(manifest);
    }
    Err(StoreError::Differs { faults, num_shards: manifest.shards.len() })
}

/// Length and hash of a file, the latter in hexadecimal digits.
pub fn sha256_of(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let (mut buffer, mut length) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((length, hex(hasher))),
            n => {
                hasher.update(&buffer[..n]);
                length += n as u64;
            }
        }
    }
}

pub(super) fn hex(hasher: Sha256) -> String {
    use std::fmt::Write as _;
    hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    })
}

/// Writes a file that is there whole or not at all.
pub(super) fn write_whole(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let text = serde_json::to_string_pretty(value).expect("text and numbers are JSON");
    let partial = path.with_extension("partial");
    fs::write(&partial, text).map_err(StoreError::io("write", &partial))?;
    fs::rename(&partial, path).map_err(StoreError::io("write", path))
}
