//! Reads files that must be small. In a tree of unknown origin, a name may be a pipe, a device or a
//! file larger than memory.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The largest description, list or parameter file that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The text of a regular file or of a link's target.
pub(super) fn read_small(path: &Path) -> io::Result<String> {
    // Opening a pipe would block until somebody writes to it.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_than_small_files_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| read_small(path).unwrap_err().to_string();
        assert_eq!(error(folder.path()), "it is not a file");
        assert_eq!(error(Path::new("/dev/zero")), "it is not a file");
        let big = folder.path().join("big");
        File::create(&big).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(error(&big), "it is larger than 16 MiB");
    }
}
