//! What can go wrong with a store.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::data::error::DataError;

/// Why a store cannot be written or is not what its manifest says.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The images cannot be listed.
    #[error(transparent)]
    Source(#[from] DataError),
    /// A file or folder.
    #[error("cannot {what} {}: {source}; check the disk and its permissions", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A bad image, where none is allowed.
    #[error("bad image {}: {reason}; repair it, or import with --on-bad skip or reencode", .path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Parquet file that is no set of images.
    #[error("{}: {reason}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the cure.
        reason: String,
    },
    /// The folder holds something else.
    #[error("{} holds other files or another import; name a new folder, or remove it", .0.display())]
    Occupied(PathBuf),
    /// A split of which nothing is left.
    #[error("no readable image in {0}; look at the reasons given for the others")]
    Nothing(&'static str),
    /// A side that no image can have.
    #[error("--max-side {0} is out of range; give 32 to 65535 px")]
    MaxSide(usize),
    /// A size that is asked for twice.
    #[error("--max-side names {0} px twice; give each size once")]
    SameSide(usize),
    /// The store would become a part of its own source.
    #[error("{} lies in the data set {}; name a folder outside of it", .out.display(), .set.display())]
    WithinSource {
        /// Where the store was to go.
        out: PathBuf,
        /// The data set.
        set: PathBuf,
    },
    /// Somebody asked the import to stop.
    #[error("interrupted; the same command goes on where it stopped")]
    Interrupted,
}

impl StoreError {
    /// Wraps what the system said about `path`.
    pub(in crate::data) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}
