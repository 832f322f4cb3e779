//! Sorted contents of one folder. An unreadable folder counts as empty, because the tree's
//! inventory reports it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names in a folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// The names that a shell's `*` matches.
pub(super) fn visible(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.starts_with('.')).cloned().collect()
}

/// Folders and links to folders in a folder, sorted.
pub(super) fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|it| it.is_dir()).collect();
    folders.sort_unstable();
    folders
}
