//! Code shared by the readers of shards. Every length in a header is checked against the file's
//! length before anything is read or allocated.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, fadvise};

use crate::data::{
    error::DataError,
    index::{FileStamp, Index},
};

/// Limit of classes: far above any real data set.
const MAX_CLASSES: u64 = 1 << 20;

/// A file of samples.
pub(in crate::data) struct Shard {
    file: File,
    pub(in crate::data) length: u64,
    /// Its position among the files of the index.
    pub(in crate::data) place: u32,
}

/// Lists the samples of `files`, one file after the other, as found by `scan`.
pub(in crate::data) fn each(
    files: &[PathBuf],
    mut scan: impl FnMut(&Shard, &mut Index) -> io::Result<()>,
) -> Result<Index, DataError> {
    let mut index = Index::new(files.to_vec(), Vec::new());
    for (place, path) in files.iter().enumerate() {
        let fault = |error: io::Error| fault(path, &error);
        index.stamps.push(FileStamp::of(path).map_err(fault)?);
        let shard = Shard::open(path, place as u32).map_err(fault)?;
        scan(&shard, &mut index).map_err(fault)?;
    }
    if index.is_empty() {
        return Err(DataError::NoImages(files[0].clone()));
    }
    Ok(index)
}

pub(in crate::data) fn fault(path: &Path, reason: &impl ToString) -> DataError {
    DataError::Container { path: path.to_owned(), reason: reason.to_string() }
}

impl Shard {
    pub(in crate::data) fn open(path: &Path, place: u32) -> io::Result<Self> {
        let file = File::open(path)?;
        // Headers are far apart; disable the system's readahead.
        let _ = fadvise(&file, 0, None, Advice::Random);
        let length = file.metadata()?.len();
        Ok(Self { file, length, place })
    }

    /// The end of a span, which must be within the file.
    pub(in crate::data) fn end(&self, start: u64, length: u64) -> io::Result<u64> {
        start.checked_add(length).filter(|&end| end <= self.length).ok_or_else(truncated)
    }

    /// A span of at most `limit` bytes.
    pub(in crate::data) fn read(&self, at: u64, length: u64, limit: u64) -> io::Result<Vec<u8>> {
        self.end(at, length)?;
        if length > limit {
            return Err(truncated());
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

/// Fails if a file that begins with `start` is compressed.
pub(in crate::data) fn check_uncompressed(start: &[u8]) -> io::Result<()> {
    const KINDS: [(&[u8], &str, &str); 4] = [
        (&[0x1f, 0x8b, 0x08], "gzip", "gunzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "Zstandard", "unzstd"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz", "unxz"),
        (b"BZh", "bzip2", "bunzip2"),
    ];
    match KINDS.iter().find(|(magic, ..)| start.starts_with(magic)) {
        None => Ok(()),
        Some((_, kind, command)) => Err(invalid(format!(
            "it is compressed ({kind}), and images are read in place; decompress it with {command}"
        ))),
    }
}

/// Reads small values that are close to each other in one call.
pub(in crate::data) struct Window<'a> {
    pub(in crate::data) shard: &'a Shard,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    const LENGTH: u64 = 1024;

    pub(in crate::data) fn new(shard: &'a Shard) -> Self {
        Self { shard, start: 0, bytes: Vec::new() }
    }

    /// Reads `N` bytes, at most the size of a window.
    pub(in crate::data) fn array<const N: usize>(&mut self, at: u64) -> io::Result<[u8; N]> {
        let end = self.shard.end(at, N as u64)?;
        if at < self.start || end > self.start + self.bytes.len() as u64 {
            let length = Self::LENGTH.max(N as u64).min(self.shard.length - at);
            self.bytes.resize(length as usize, 0);
            self.shard.file.read_exact_at(&mut self.bytes, at)?;
            self.start = at;
        }
        let first = (at - self.start) as usize;
        Ok(self.bytes[first..first + N].try_into().expect("the window holds N bytes"))
    }

    /// Reads a little-endian number.
    pub(in crate::data) fn u32(&mut self, at: u64) -> io::Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// Reads a little-endian number.
    pub(in crate::data) fn u64(&mut self, at: u64) -> io::Result<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// Reads a little-endian number of 1 to 8 bytes.
    pub(in crate::data) fn number(&mut self, at: u64, num_bytes: u64) -> io::Result<u64> {
        let mut wide = [0; 8];
        for (i, byte) in wide.iter_mut().take(num_bytes as usize).enumerate() {
            [*byte] = self.array(at + i as u64)?;
        }
        Ok(u64::from_le_bytes(wide))
    }
}

/// A label as it is stored. A negative one, which some data sets use for unknown, becomes huge
/// here.
pub(in crate::data) fn class(number: u64) -> io::Result<u32> {
    let number = Some(number).filter(|&number| number < MAX_CLASSES);
    number.map(|number| number as u32).ok_or_else(|| invalid("a label is not a class number"))
}

/// Names classes that have only numbers, from `first` to the highest label.
pub(in crate::data) fn number_classes(index: &mut Index, first: u32) {
    let num_classes = index.columns.labels.iter().max().map_or(0, |&label| label + 1);
    index.classes = (first..first + num_classes).map(|number| number.to_string()).collect();
}

pub(in crate::data) fn truncated() -> io::Error {
    io::Error::other("truncated or damaged")
}

pub(in crate::data) fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::other(reason.into())
}

pub(in crate::data) fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}
