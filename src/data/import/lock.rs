//! Keeps two imports from writing to one folder.

use std::{
    fs::{self, File},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::data::format::error::StoreError;

/// Keeps other imports out of `out` while it lives, and creates the folder.
pub(in crate::data) fn lock(out: &Path) -> Result<File, StoreError> {
    fs::create_dir_all(out).map_err(StoreError::io("create", out))?;
    let folder = File::open(out).map_err(StoreError::io("open", out))?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(StoreError::Busy(out.to_owned())),
        // Some network file systems have no locks.
        Ok(()) | Err(_) => Ok(folder),
    }
}
