//! Errors of stores.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::data::error::{DataError, remedy, some_of};

/// Why a store cannot be written, or differs from its manifest.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The images cannot be listed.
    #[error(transparent)]
    Source(#[from] DataError),
    /// A file or folder.
    #[error("cannot {what} {}: {source}; {}", .path.display(), remedy(.source))]
    Io {
        /// The attempted action.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A bad image, with `--on-bad fail`.
    #[error("bad image {}: {reason}; repair it, or import with --on-bad skip or reencode", .path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Parquet file is not a data set of images.
    #[error("{}: {reason}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the fix.
        reason: String,
    },
    /// The output folder contains something else.
    #[error("{} contains other files or another import; name a new folder, or remove it", .0.display())]
    Occupied(PathBuf),
    /// Another import writes to the output folder.
    #[error("another import writes to {}; wait for its end, or name another folder", .0.display())]
    Busy(PathBuf),
    /// No image of a split can be read.
    #[error("no readable image in {0}; see the reasons above and repair the images")]
    Nothing(&'static str),
    /// An image size is out of range.
    #[error("--max-side {0} is out of range; give 32 to 65535 px")]
    MaxSide(usize),
    /// An image size is given twice.
    #[error("--max-side has {0} px twice; give each size once")]
    SameSide(usize),
    /// The fraction of validation images is not between 0 and 1.
    #[error("--val-share {0} is out of range; give a number between 0 and 1, such as 0.1")]
    ValShare(f64),
    /// The data set to split is split already.
    #[error("{} has validation images already; leave out --val-share", .0.display())]
    HasVal(PathBuf),
    /// The data set to split is not a folder of class folders.
    #[error("--val-share splits folders of classes, but {} has archives or shards; unpack them, or give it validation images", .0.display())]
    NotClassFolders(PathBuf),
    /// Other folders than `train` have classes.
    #[error(
        "{} holds class folders as well as train, and would be left out; rename it to val and leave out \
         --val-share, or name the folder train itself as the source", .0.display()
    )]
    OtherSplit(PathBuf),
    /// The folders in the source are no classes.
    #[error(
        "the folders in {} have no images of their own, but {} has class folders; name that one as the \
         source", root.display(), inner.display()
    )]
    NotClasses {
        /// The source.
        root: PathBuf,
        /// A folder in it that has class folders.
        inner: PathBuf,
    },
    /// A store has no Exif data.
    #[error("{} is a store, and stores have no Exif data; import its source with --exif apply", .0.display())]
    NoExif(PathBuf),
    /// Classes with too few images to be split.
    #[error("--val-share needs at least 2 images of each class, but there are fewer of {}; add images to these classes, or remove their folders", some_of(.0))]
    TooFew(Vec<String>),
    /// The store would be inside its own source.
    #[error("{} is inside the data set {}; name a folder outside of it", .out.display(), .set.display())]
    WithinSource {
        /// The output folder.
        out: PathBuf,
        /// The data set.
        set: PathBuf,
    },
    /// The import was asked to stop.
    #[error("interrupted; run the same command again to resume")]
    Interrupted,
}

impl StoreError {
    /// Wraps a system error about `path`.
    pub(in crate::data) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}
