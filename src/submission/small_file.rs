//! Reads files of which only a small one makes sense: in a tree of unknown origin a name may stand
//! for a pipe, a device or more bytes than memory has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of the largest description, list or parameter file that is read.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The text of a regular file, or what a link to one leads to.
pub(super) fn read_small(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for somebody to write.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it has more than 16 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_small_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| read_small(path).unwrap_err().to_string();
        assert_eq!(error(folder.path()), "it is no file");
        assert_eq!(error(Path::new("/dev/zero")), "it is no file");
        let big = folder.path().join("big");
        File::create(&big).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(error(&big), "it has more than 16 MiB");
    }
}
