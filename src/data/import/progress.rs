//! The progress of an unfinished import, and where to resume it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    data::{
        config::OnBad,
        dataset::open::Dataset,
        format::{
            error::StoreError,
            manifest::{Note, ShardRecord, UNFINISHED, is_shard_name, write_whole},
        },
        import::Import,
    },
    hash,
};

/// The progress of an unfinished import, and its options.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::data) struct Progress {
    import: Import,
    #[serde(rename = "num_pictures")]
    num_images: [usize; 2],
    /// Hash of the names and labels of all images, in order.
    listing_sha256: String,
    /// The finished shards, by store.
    pub(in crate::data) shards: Vec<Vec<ShardRecord>>,
    #[serde(rename = "mended")]
    pub(in crate::data) repaired: BTreeSet<Note>,
    pub(in crate::data) converted: BTreeSet<Note>,
    pub(in crate::data) skipped: BTreeSet<Note>,
    /// Images with an Exif orientation other than upright.
    pub(in crate::data) num_with_orientation: usize,
    pub(in crate::data) num_train: usize,
    pub(in crate::data) num_eval: usize,
}

impl Progress {
    /// Empty progress for `num_stores` stores.
    pub(in crate::data) fn none(import: &Import, dataset: &Dataset, num_stores: usize) -> Self {
        Self {
            import: import.clone(),
            num_images: [dataset.train.len(), dataset.eval.len()],
            listing_sha256: listing(dataset),
            shards: vec![Vec::new(); num_stores],
            repaired: BTreeSet::new(),
            converted: BTreeSet::new(),
            skipped: BTreeSet::new(),
            num_with_orientation: 0,
            num_train: 0,
            num_eval: 0,
        }
    }

    /// The progress of an earlier attempt in `out`, or `self` if there is none; an error if the
    /// folders contain anything else.
    pub(in crate::data) fn or_earlier(
        self,
        out: &Path,
        folders: &[PathBuf],
    ) -> Result<Self, StoreError> {
        let note = out.join(UNFINISHED);
        if let Ok(text) = fs::read(&note) {
            if let Some(found) = serde_json::from_slice(&text).ok().and_then(|it| self.going_on(it))
            {
                return Ok(found);
            }
            remove_leftovers(out)?;
        }
        for folder in folders {
            fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
            remove_leftovers(folder)?;
        }
        write_whole(&note, &self)?;
        Ok(self)
    }

    /// `earlier` as progress of this import, if the two match.
    fn going_on(&self, mut earlier: Self) -> Option<Self> {
        // With `OnBad::Fail`, finished shards contain no bad images, so they are the same whatever
        // the other modes would do with bad images.
        if earlier.import.on_bad == OnBad::Fail {
            earlier.import.on_bad = self.import.on_bad;
        }
        let is_same = earlier.import == self.import
            && earlier.num_images == self.num_images
            && earlier.listing_sha256 == self.listing_sha256
            && earlier.shards.len() == self.shards.len();
        is_same.then_some(earlier)
    }
}

fn listing(dataset: &Dataset) -> String {
    let mut hasher = Sha256::new();
    for index in [&dataset.train, &dataset.eval] {
        for i in 0..index.len() {
            let label = (index.label(i) as u64).to_le_bytes();
            hasher = hasher.chain_update(label).chain_update(index.name(i)).chain_update([0]);
        }
    }
    hash::hex(hasher.finalize())
}

/// Removes the leftovers of an import that has finished no shard; an error if `folder` contains
/// anything else.
fn remove_leftovers(folder: &Path) -> Result<(), StoreError> {
    let mut found = Vec::new();
    if !leftovers(folder, &mut found).map_err(StoreError::io("list", folder))? {
        return Err(StoreError::Occupied(folder.to_owned()));
    }
    for path in found {
        let removed = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        removed.map_err(StoreError::io("remove", &path))?;
    }
    Ok(())
}

/// Whether `folder` contains only leftovers. They are collected in `found`, the contents of a
/// folder before the folder.
fn leftovers(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_ours = if path.is_dir() {
            // The store of one of several sizes.
            name.parse::<usize>().is_ok() && leftovers(&path, found)?
        } else {
            let whole = name.strip_suffix(".partial").map(|stem| format!("{stem}.arrow"));
            name == UNFINISHED
                || path.with_extension("json").ends_with(UNFINISHED)
                || whole.is_some_and(|whole| is_shard_name(&whole))
        };
        if !is_ours {
            return Ok(false);
        }
        found.push(path);
    }
    Ok(true)
}
