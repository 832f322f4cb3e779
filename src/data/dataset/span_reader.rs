//! Reads the bytes of a sample: one `pread` of its span, or its whole file.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::OnceLock,
};

use rustix::process::{Resource, getrlimit};

use crate::data::{
    format::recordio,
    image::ppm,
    index::{Index, PIXELS, SPLIT_RECORD, WHOLE_FILE},
};

/// No image file is this long, but a damaged archive may claim it.
const MAX_FILE_LEN: u64 = 1 << 30;

/// Archives that stay open: at most this many, and half of the process's limit of open files.
const MAX_OPEN: usize = 512;

fn max_open() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
        MAX_OPEN.min(limit / 2)
    })
}

/// The archive of sample `i`, opened at its first use; `None` if too many archives are open.
pub(in crate::data) fn open_once(index: &Index, i: usize) -> io::Result<Option<&File>> {
    let number = index.columns.places[i] as usize;
    let (place, handle) = &index.places[number];
    if number >= max_open() {
        return Ok(None);
    }
    if let Some(file) = handle.get() {
        return Ok(Some(file));
    }
    let file = File::open(place)?;
    Ok(Some(handle.get_or_init(|| file)))
}

/// A thread's buffers.
#[derive(Default)]
pub(in crate::data) struct SpanReader {
    path: PathBuf,
}

impl SpanReader {
    /// Fills `bytes` with sample `i`.
    pub(in crate::data) fn read(
        &mut self,
        index: &Index,
        i: usize,
        bytes: &mut Vec<u8>,
    ) -> io::Result<()> {
        bytes.clear();
        if index.columns.flags[i] & WHOLE_FILE != 0 {
            index.path_into(i, &mut self.path);
            let num_read = File::open(&self.path)?.take(MAX_FILE_LEN).read_to_end(bytes)?;
            return if num_read as u64 == MAX_FILE_LEN { Err(too_long()) } else { Ok(()) };
        }
        let (offset, length) = (index.columns.offsets[i], index.columns.lengths[i]);
        if u64::from(length) >= MAX_FILE_LEN {
            return Err(too_long());
        }
        if let Some(size) = index.size(i).filter(|_| index.columns.flags[i] & PIXELS != 0) {
            ppm::begin(bytes, size);
        }
        let start = bytes.len();
        bytes.resize(start + length as usize, 0);
        let span = &mut bytes[start..];
        match open_once(index, i)? {
            Some(file) => file.read_exact_at(span, offset)?,
            None => File::open(index.place(i))?.read_exact_at(span, offset)?,
        }
        if index.columns.flags[i] & SPLIT_RECORD != 0 {
            recordio::join(bytes)?;
        }
        Ok(())
    }
}

fn too_long() -> io::Error {
    io::Error::other(format!("a file of {MAX_FILE_LEN} bytes or more is not an image"))
}
