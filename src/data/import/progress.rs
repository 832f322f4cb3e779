//! What an import that is not over has done: its notes, and where it goes on.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::data::{
    config::OnBad,
    dataset::open::Dataset,
    format::{
        error::StoreError,
        manifest::{Note, ShardRecord, UNFINISHED, is_shard_name, write_whole},
    },
    import::Import,
};

/// What an import that is not over has done, and for what.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::data) struct Progress {
    import: Import,
    #[serde(rename = "num_pictures")]
    num_images: [usize; 2],
    /// By store.
    pub(in crate::data) shards: Vec<Vec<ShardRecord>>,
    #[serde(rename = "mended")]
    pub(in crate::data) repaired: BTreeSet<Note>,
    pub(in crate::data) skipped: BTreeSet<Note>,
    pub(in crate::data) num_train: usize,
    pub(in crate::data) num_eval: usize,
}

impl Progress {
    /// Nothing yet, for so many stores.
    pub(in crate::data) fn none(import: &Import, dataset: &Dataset, num_stores: usize) -> Self {
        Self {
            import: import.clone(),
            num_images: [dataset.train.len(), dataset.eval.len()],
            shards: vec![Vec::new(); num_stores],
            repaired: BTreeSet::new(),
            skipped: BTreeSet::new(),
            num_train: 0,
            num_eval: 0,
        }
    }

    /// What an earlier try into `out` has done, else `self`, which has done nothing; an error where
    /// the folders hold anything else.
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

    /// `earlier` as a part of `self`, if it is one.
    fn going_on(&self, mut earlier: Self) -> Option<Self> {
        // Where a bad image ends an import, whole shards have none: they are what they would be
        // whatever else bad images led to.
        if earlier.import.on_bad == OnBad::Fail {
            earlier.import.on_bad = self.import.on_bad;
        }
        let is_same = earlier.import == self.import
            && earlier.num_images == self.num_images
            && earlier.shards.len() == self.shards.len();
        is_same.then_some(earlier)
    }
}

/// Removes what an import leaves that has finished no shard; an error where `folder` holds anything
/// else.
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

/// Whether `folder` holds leftovers only, which are put into `found`, what lies in a folder before it.
fn leftovers(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_ours = if path.is_dir() {
            // A store of one size of several.
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
