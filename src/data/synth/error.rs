//! What can go wrong while a set is made.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why there is no image set.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A field of the config is out of range.
    #[error("invalid image set: {field} = {value} is {problem}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong, and the cure.
        problem: String,
    },
    /// The folder holds something else.
    #[error("{} is not empty and holds no set of this config; name an empty folder", .0.display())]
    Occupied(PathBuf),
    /// libjpeg-turbo refused an image.
    #[error("cannot compress an image")]
    Jpeg(#[from] turbojpeg::Error),
    /// The file system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl SynthError {
    /// Names what was tried on `path` when the file system refused.
    pub(in crate::data) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
