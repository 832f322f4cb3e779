//! What is imported, and whether that is possible.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf, absolute},
};

use serde::{Deserialize, Serialize};

use crate::data::{
    config::{Exif, OnBad},
    dataset::open::Dataset,
    format::{error::StoreError, manifest::stores_in},
    import::{parquet::unpacked, val_share},
};

/// What to import, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// The data set, in any container.
    pub source: PathBuf,
    /// Longest sides of training images, px. Several sizes give one store each, in a folder named
    /// after the size; no size keeps all images unchanged.
    pub max_sides: Vec<usize>,
    /// What to do with a bad image.
    pub on_bad: OnBad,
    /// What to do with the orientation of an image.
    pub exif: Exif,
    /// The fraction of each class that becomes validation images, if the source has none.
    pub val_share: Option<f64>,
    /// Seed of the order of training images and of the choice of validation images.
    pub seed: u64,
}

impl Import {
    /// An import of `source` without changes.
    pub fn of(source: &Path) -> Self {
        Self {
            source: source.to_owned(),
            max_sides: Vec::new(),
            on_bad: OnBad::Fail,
            exif: Exif::Ignore,
            val_share: None,
            seed: 0,
        }
    }
}

/// Opens the source of an import into `out`: Parquet is first unpacked next to `out`, until the
/// import is done.
pub fn open_source(import: &Import, out: &Path) -> Result<Dataset, StoreError> {
    check_apart(&import.source, out)?;
    if import.exif == Exif::Apply
        && let Some(store) = stores_in(&import.source)?.pop()
    {
        return Err(StoreError::NoExif(store));
    }
    match import.val_share {
        Some(share) => val_share::open(&import.source, share, import.seed),
        None => Ok(Dataset::open(&unpacked(&import.source, &spool(out))?)?),
    }
}

pub(super) fn check_sides(sides: &[usize]) -> Result<(), StoreError> {
    if let Some(side) = sides.iter().find(|side| !(32..=65535).contains(*side)) {
        return Err(StoreError::MaxSide(*side));
    }
    let mut known = BTreeSet::new();
    match sides.iter().find(|side| !known.insert(**side)) {
        Some(side) => Err(StoreError::SameSide(*side)),
        None => Ok(()),
    }
}

/// A store inside its source would become part of the source next time.
pub(super) fn check_apart(source: &Path, out: &Path) -> Result<(), StoreError> {
    let whole = absolute(out).map_err(StoreError::io("find", out))?;
    // `out` need not exist yet: use the nearest existing folder.
    let place = whole.ancestors().find_map(|folder| folder.canonicalize().ok());
    match (place, source.canonicalize()) {
        (Some(place), Ok(whole)) if place.starts_with(&whole) => {
            Err(StoreError::WithinSource { out: out.to_owned(), set: source.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Where Parquet is unpacked, next to the store.
pub(super) fn spool(out: &Path) -> PathBuf {
    // Drop a trailing slash, so that the folder is next to the store and not inside it.
    let mut name = out.components().as_path().as_os_str().to_owned();
    name.push(".unpacked");
    PathBuf::from(name)
}
