//! Indexes cached between runs, next to the generated image sets. Listing a million files
//! takes seconds to minutes; reading the index back takes a fraction of a second.
//!
//! The file is one line of JSON (classes, locations, file stamps, counts), the columns in little
//! endian, and a checksum (CRC-32C) of both. It is used only if all file stamps are unchanged; on
//! any problem the data set is listed again. An index is not cached if one of its files changed
//! within the last few seconds, because a later change could have the same time stamp.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::{
    config::{Split, StoreDivision},
    index::{Columns, FileStamp, Index},
};

const VERSION: u32 = 4;
const SETTLED: Duration = Duration::from_secs(3);

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    num_samples: usize,
    names_len: usize,
    classes: Vec<String>,
    places: Vec<PathBuf>,
    stamps: Vec<FileStamp>,
    division: Option<StoreDivision>,
    num_hidden: u32,
}

impl FileStamp {
    /// The current stamp of a file or folder.
    pub(in crate::data) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { path: path.to_owned(), length: metadata.len(), modified })
    }

    /// Whether the file or folder is unchanged.
    pub(in crate::data) fn is_current(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| now == *self)
    }
}

/// The cache folder of the user: `$MLPERF_RUN_CACHE`, else `$XDG_CACHE_HOME/mlperf-run`, else
/// `~/.cache/mlperf-run`.
pub fn cache_folder() -> PathBuf {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("MLPERF_RUN_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("mlperf-run")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/mlperf-run")))
        .unwrap_or_else(|| std::env::temp_dir().join("mlperf-run"))
}

/// The path of a split's index below `cache`.
pub(in crate::data) fn file_of(cache: &Path, root: &Path, split: Split) -> PathBuf {
    let hash = Sha256::digest(root.as_os_str().as_bytes());
    let name = u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"));
    cache.join(format!("index-{name:016x}-{}.bin", split.folder_name()))
}

/// The index in a cache file, if the file exists and nothing has changed since.
pub(in crate::data) fn load(file: &Path) -> Option<Index> {
    let bytes = fs::read(file).ok()?;
    let (bytes, checksum) = bytes.split_last_chunk()?;
    if crc32c::crc32c(bytes) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let header_len = memchr::memchr(b'\n', bytes)?;
    let header: Header = serde_json::from_slice(&bytes[..header_len]).ok()?;
    if header.version != VERSION || !header.stamps.iter().all(FileStamp::is_current) {
        return None;
    }
    let columns = columns(&bytes[header_len + 1..], &header)?;
    let mut index = Index::new(header.places, header.stamps);
    (index.classes, index.columns, index.division) = (header.classes, columns, header.division);
    index.num_hidden = header.num_hidden;
    (index.is_sound() && !index.is_empty()).then_some(index)
}

/// Caches an index. If it cannot be written, the data set is listed again next time.
pub(in crate::data) fn store(file: &Path, index: &Index) -> io::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let limit = now.saturating_sub(SETTLED).as_secs() as i64;
    if index.stamps.iter().any(|stamp| stamp.modified.0 >= limit) {
        return Ok(());
    }
    let header = Header {
        version: VERSION,
        num_samples: index.len(),
        names_len: index.columns.names.len(),
        classes: index.classes.clone(),
        places: index.places.iter().map(|(place, _)| place.clone()).collect(),
        stamps: index.stamps.clone(),
        division: index.division,
        num_hidden: index.num_hidden,
    };
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    let partial = file.with_extension(format!("{}.partial", std::process::id()));
    let written = write(&partial, &header, &index.columns);
    written.and_then(|()| fs::rename(&partial, file)).inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })
}

fn write(path: &Path, header: &Header, columns: &Columns) -> io::Result<()> {
    let mut out = Summed { file: BufWriter::new(File::create(path)?), checksum: 0 };
    serde_json::to_writer(&mut out, header)?;
    out.write_all(b"\n")?;
    for column in [&columns.places, &columns.lengths, &columns.labels, &columns.name_ends] {
        column.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
    }
    columns.offsets.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
    for value in columns.sizes.as_flattened() {
        out.write_all(&value.to_le_bytes())?;
    }
    out.write_all(&columns.flags)?;
    out.write_all(&columns.names)?;
    let Summed { mut file, checksum } = out;
    file.write_all(&checksum.to_le_bytes())?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// A writer that computes the checksum of what it writes.
struct Summed {
    file: BufWriter<File>,
    checksum: u32,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let num_written = self.file.write(bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes[..num_written]);
        Ok(num_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn columns(mut bytes: &[u8], header: &Header) -> Option<Columns> {
    let n = header.num_samples;
    let expected = n.checked_mul(4 * 4 + 8 + 4 + 1)?.checked_add(header.names_len)?;
    if bytes.len() != expected {
        return None;
    }
    let mut take = |len: usize| {
        let (column, rest) = bytes.split_at(len);
        bytes = rest;
        column
    };
    let words = |column: &[u8]| -> Vec<u32> {
        column.as_chunks().0.iter().copied().map(u32::from_le_bytes).collect()
    };
    let [places, lengths, labels, name_ends] = std::array::from_fn(|_| words(take(4 * n)));
    let offsets = take(8 * n).as_chunks().0.iter().copied().map(u64::from_le_bytes).collect();
    let size = |pair: &[u8; 4]| [[pair[0], pair[1]], [pair[2], pair[3]]].map(u16::from_le_bytes);
    let sizes = take(4 * n).as_chunks().0.iter().map(size).collect();
    let flags = take(n).to_vec();
    let names = take(header.names_len).to_vec();
    Some(Columns { places, offsets, lengths, labels, sizes, flags, names, name_ends })
}
