//! `manifest.json`: the contents of a store, what was changed, and the hashes of its shards.

use crate::{
    data::config::{Exif, StoreDivision},
    hash::{sha256, sha256_of},
};
use std::{
    fs,
    io::ErrorKind::{NotADirectory, NotFound},
    path::{Path, PathBuf},
};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::data::{config::Split, error::DataError, format::error::StoreError};

/// Name of the manifest. It is written last, so a folder without it is not a complete store.
pub(in crate::data) const MANIFEST: &str = "manifest.json";
/// Name of the progress file of an unfinished import.
pub(in crate::data) const UNFINISHED: &str = "unfinished.json";
/// The version that is written, and the newest that can be read.
pub(in crate::data) const VERSION: u32 = 1;

/// The contents of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this file's format.
    pub version: u32,
    /// Where a run on this store may be submitted.
    pub division: StoreDivision,
    /// Longest side of training images, px, if larger ones were shrunk.
    pub max_side: Option<usize>,
    /// What was done with the orientation of images.
    #[serde(default)]
    pub exif: Exif,
    /// Images whose source has an Exif orientation other than upright.
    #[serde(default)]
    pub num_with_orientation: usize,
    /// The fraction of each class that became validation images, if the source had none.
    #[serde(default)]
    pub val_share: Option<f64>,
    /// The source of the images.
    pub source: PathBuf,
    /// Seed of the order of training images and of the choice of validation images.
    pub seed: u64,
    /// Class names; the position is the label.
    pub classes: Vec<String>,
    /// Number of training images.
    pub num_train: usize,
    /// Number of validation images.
    pub num_eval: usize,
    /// The shards.
    pub shards: Vec<ShardRecord>,
    /// Images that were re-encoded because they were not plain JPEGs.
    #[serde(rename = "mended")]
    pub repaired: Vec<Note>,
    /// Images of formats that training does not read, which were re-encoded.
    #[serde(default)]
    pub converted: Vec<Note>,
    /// Bad images that were left out.
    pub skipped: Vec<Note>,
}

/// The part of a manifest that all versions have.
#[derive(Deserialize)]
struct Form {
    version: u64,
}

/// Fields that no other library's manifest has.
#[derive(Deserialize)]
struct Mark {
    #[serde(rename = "division")]
    _division: IgnoredAny,
    #[serde(rename = "shards")]
    _shards: IgnoredAny,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// File name, next to the manifest.
    pub file: String,
    /// Number of images.
    pub num_rows: usize,
    /// Length of the file.
    pub bytes: u64,
    /// Hash of the file, in hexadecimal digits.
    pub sha256: String,
}

/// An image that was changed or left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// Its file, or its path in an archive as if the archive were a folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Manifest {
    /// Reads the manifest of the store in `folder`, without looking at its shards.
    ///
    /// # Errors
    /// [`DataError::NoStore`] if `folder` is not a store; any other error if it is a store that
    /// cannot be used.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(MANIFEST);
        let shards = shards_in(folder);
        let text = match fs::read(&path) {
            Ok(text) => Some(text),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => None,
            Err(error) => return Err(DataError::Manifest { path, reason: error.to_string() }),
        };
        // An import of several sizes keeps its progress file in the folder above its stores, which
        // are complete as soon as they have their manifests.
        let above = folder.parent().filter(|_| text.is_none() && !shards.is_empty());
        if above.into_iter().chain([folder]).any(|it| it.join(UNFINISHED).is_file()) {
            return Err(DataError::Unfinished(folder.to_owned()));
        }
        // Any data set may have a file of this name. It belongs to a store if it has a store's
        // fields, or if shards with a store's names are next to it: a damaged manifest must not turn
        // a store into a plain folder.
        let has_store_fields = |text: &Vec<u8>| serde_json::from_slice::<Mark>(text).is_ok();
        match text.filter(|text| !shards.is_empty() || has_store_fields(text)) {
            Some(text) => Self::parse(path, &text),
            None => Err(DataError::NoStore(folder.to_owned())),
        }
    }

    fn parse(path: PathBuf, text: &[u8]) -> Result<Self, DataError> {
        // Check the version first, because the rest of a newer manifest is unknown.
        match serde_json::from_slice(text) {
            Ok(Form { version }) if version > u64::from(VERSION) => {
                Err(DataError::NewerStore { path, version, known: VERSION })
            }
            _ => serde_json::from_slice(text)
                .map_err(|error| DataError::Manifest { path, reason: error.to_string() }),
        }
    }

    /// Returns an error unless the shards in `folder` are those of the manifest. `differs` says how
    /// a shard differs.
    fn compare(
        &self,
        folder: &Path,
        mut differs: impl FnMut(&ShardRecord, &Path) -> Option<String>,
    ) -> Result<(), DataError> {
        let mut faults = Vec::new();
        for shard in &self.shards {
            // A manifest names only files next to it.
            let is_plain =
                Path::new(&shard.file).file_name().is_some_and(|name| *name == *shard.file);
            let fault = if is_plain {
                differs(shard, &folder.join(&shard.file))
            } else {
                Some("not a file name".to_owned())
            };
            faults.extend(fault.map(|fault| format!("{} ({fault})", shard.file)));
        }
        let is_listed = |file: &String| self.shards.iter().any(|shard| shard.file == *file);
        let unlisted = shards_in(folder).into_iter().filter(|file| !is_listed(file));
        faults.extend(unlisted.map(|file| format!("{file} (not in the manifest)")));
        if faults.is_empty() {
            return Ok(());
        }
        let (folder, num_shards) = (folder.to_owned(), self.shards.len());
        Err(DataError::StoreDiffers { folder, num_shards, faults })
    }
}

/// The manifest of the store in `folder`, whose shards must exist and have the right lengths;
/// `None` if `folder` is not a store. No shard is read.
pub fn manifest_of(folder: &Path) -> Result<Option<Manifest>, DataError> {
    let manifest = match Manifest::read(folder) {
        Err(DataError::NoStore(_)) => return Ok(None),
        read => read?,
    };
    manifest.compare(folder, |shard, path| match fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(found) if found.len() != shard.bytes => {
            Some(format!("{} bytes instead of {}", found.len(), shard.bytes))
        }
        Ok(_) => None,
    })?;
    Ok(Some(manifest))
}

/// The store in `folder`, or the stores side by side in it, the largest last; empty if there are
/// none.
pub fn stores_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    if manifest_of(folder)?.is_some() {
        return Ok(vec![folder.to_owned()]);
    }
    Ok(stores_by_size(folder)?.into_iter().map(|(_, store)| store).collect())
}

/// The stores in `root`, each with the longest side of its training images, the largest last. Empty
/// unless there are several.
pub(in crate::data) fn stores_by_size(root: &Path) -> Result<Vec<(usize, PathBuf)>, DataError> {
    let folders = root.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut stores = Vec::new();
    for folder in folders.filter(|folder| has_manifest(folder)) {
        match Manifest::read(&folder) {
            // Unshrunk images are larger than any shrunk ones.
            Ok(manifest) => stores.push((manifest.max_side.unwrap_or(usize::MAX), folder)),
            Err(DataError::NoStore(_)) => {}
            Err(error) => return Err(error),
        }
    }
    stores.sort_unstable();
    if let Some([(_, store), (_, other)]) = stores.windows(2).find(|two| two[0].0 == two[1].0) {
        let reason = "both have the same image size".to_owned();
        return Err(DataError::StoresDiffer { store: store.clone(), other: other.clone(), reason });
    }
    Ok(if stores.len() > 1 { stores } else { Vec::new() })
}

/// Whether `folder` has any kind of manifest; `false` if it cannot be accessed.
pub(in crate::data) fn has_manifest(folder: &Path) -> bool {
    folder.join(MANIFEST).exists()
}

/// A hash that identifies the store in `folder`, different even from stores of the same images in
/// other sizes: the hash of its manifest, which contains the hashes of its shards. For a folder of
/// stores, the hash of their hashes, from the smallest to the largest. `None` if `folder` is
/// neither.
pub fn identity_of(folder: &Path) -> Result<Option<String>, DataError> {
    let stores = stores_in(folder)?;
    let hashes: Result<Vec<String>, _> = stores.iter().map(|store| hash_of(store)).collect();
    hashes.map(|hashes| match hashes.as_slice() {
        [] => None,
        [hash] => Some(hash.clone()),
        hashes => Some(sha256(hashes.concat())),
    })
}

fn hash_of(store: &Path) -> Result<String, DataError> {
    let path = store.join(MANIFEST);
    match sha256_of(&path) {
        Ok(hash) => Ok(hash.sha256),
        Err(error) => Err(DataError::Manifest { path, reason: error.to_string() }),
    }
}

/// Reads every byte of the store in `folder` and compares the hashes; `progress` receives the
/// number of bytes read.
pub fn verify(folder: &Path, progress: &dyn Fn(u64)) -> Result<Manifest, DataError> {
    let manifest = Manifest::read(folder)?;
    let mut num_read = 0;
    manifest.compare(folder, |shard, path| {
        let hash = sha256_of(path);
        num_read = u64::saturating_add(num_read, shard.bytes);
        progress(num_read);
        match hash {
            Err(error) => Some(error.to_string()),
            Ok(found) if (found.num_bytes, &found.sha256) != (shard.bytes, &shard.sha256) => {
                Some("other content".to_owned())
            }
            Ok(_) => None,
        }
    })?;
    Ok(manifest)
}

/// Name of a shard of a split.
pub(in crate::data) fn shard_name(split: Split, number: usize) -> String {
    format!("{}-{number:05}.arrow", split.folder_name())
}

/// Files in `folder` that are named like shards of a store.
fn shards_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_shard_name(name)).collect();
    names.sort_unstable();
    names
}

pub(in crate::data) fn is_shard_name(name: &str) -> bool {
    let number = name.strip_suffix(".arrow").and_then(|name| name.rsplit_once('-'));
    let number = number.and_then(|(_, number)| number.parse().ok());
    number.is_some_and(|it| {
        [Split::Train, Split::Eval].into_iter().any(|split| shard_name(split, it) == name)
    })
}

/// Writes a file atomically.
pub(in crate::data) fn write_whole(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let text = serde_json::to_string_pretty(value).expect("text and numbers are JSON");
    let partial = path.with_extension("partial");
    fs::write(&partial, text).map_err(StoreError::io("write", &partial))?;
    fs::rename(&partial, path).map_err(StoreError::io("write", path))
}
