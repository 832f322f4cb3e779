//! What lies in one folder, sorted. A folder that cannot be read holds nothing: the inventory of the
//! tree says so.

use std::fs;
use std::path::{Path, PathBuf};

/// Names in a folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Those that a shell's `*` finds.
pub(super) fn visible(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.starts_with('.')).cloned().collect()
}

/// Folders in a folder, and links to some, sorted.
pub(super) fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|it| it.is_dir()).collect();
    folders.sort_unstable();
    folders
}
