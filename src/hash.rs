//! SHA-256 in hexadecimal digits, as `sha256sum` writes it.

use std::{
    fmt::Write,
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

/// Length and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHash {
    /// Length, bytes.
    pub num_bytes: u64,
    /// Hash of the content.
    pub sha256: String,
}

/// Hash of `bytes`.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}

/// Length and hash of the file at `path`.
pub fn sha256_of(path: &Path) -> io::Result<FileHash> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let (mut buffer, mut num_bytes) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(FileHash { num_bytes, sha256: hex(hasher.finalize()) }),
            n => {
                hasher.update(&buffer[..n]);
                num_bytes += n as u64;
            }
        }
    }
}

/// `digest` in hexadecimal digits.
pub fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_as_sha256sum_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(sha256_of(&path).unwrap(), FileHash { num_bytes: 3, sha256: sha256.clone() });
        assert_eq!(super::sha256("abc"), sha256);
    }
}
