//! Errors of the built-in image set.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why an image set cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A field of the config is out of range.
    #[error("invalid synthetic data set: {field} = {value} is {problem}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// The folder contains something else.
    #[error("{} is not empty and does not contain this image set; name an empty folder", .0.display())]
    Occupied(PathBuf),
    /// libjpeg-turbo failed to compress an image.
    #[error("cannot compress an image")]
    Jpeg(#[from] turbojpeg::Error),
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// The attempted action.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl SynthError {
    /// Wraps a system error with the attempted action on `path`.
    pub(in crate::data) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
