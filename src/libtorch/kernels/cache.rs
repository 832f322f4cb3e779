//! Compiled kernels, kept in files.

use std::{fs, io, io::Write as _, path::Path};

use sha2::{Digest, Sha256};

/// A name for what is compiled from these texts.
pub(super) fn key(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let name = *hash.finalize().first_chunk().expect("a hash has 32 bytes");
    format!("{:032x}", u128::from_be_bytes(name))
}

/// The contents of a file of [`write`]; `None` if there is none, or if it has been damaged.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (contents, checksum) = bytes.split_last_chunk::<32>()?;
    (Sha256::digest(contents).as_slice() == checksum).then(|| contents.to_vec())
}

/// Writes `contents` and their SHA-256. Other processes see the whole file or none.
pub(super) fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(contents)?;
    file.write_all(&Sha256::digest(contents))?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/kernels.cubin");
        assert_eq!(read(&path), None);
        write(&path, b"some kernels").expect("a file");
        assert_eq!(read(&path).as_deref(), Some(&b"some kernels"[..]));
        let mut bytes = fs::read(&path).expect("a file");
        bytes[3] ^= 1;
        fs::write(&path, &bytes).expect("a file");
        assert_eq!(read(&path), None);
        fs::write(&path, b"short").expect("a file");
        assert_eq!(read(&path), None);
    }

    #[test]
    fn keys_tell_texts_apart() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
    }
}
