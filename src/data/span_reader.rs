//! Bytes of a sample: one `pread` of its span, or its whole file; and notice of what comes next.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{Advice, fadvise};

use super::Index;
use super::container::recordio;
use super::index::{SPLIT_RECORD, WHOLE_FILE};

/// No picture's file is this long; a damaged archive may say so.
const MAX_FILE_LEN: u64 = 1 << 30;

/// Archives that stay open: well below the usual limit of 1024 files a process.
const MAX_OPEN: usize = 512;

/// Tells the system which spans will be read, so that it reads them ahead with a deep queue: one
/// call of about 2 us a sample, no thread and no copy. Files of their own are passed by: to name
/// one, it would have to be opened.
pub(super) fn advise(index: &Index, samples: &[u32]) {
    for i in samples.iter().map(|&sample| sample as usize) {
        // A sample that is not there is the reader's to complain of.
        let length = index.columns.lengths.get(i).copied().unwrap_or(0);
        let Some(length) = NonZeroU64::new(u64::from(length)) else { continue };
        // Errors are left to the read that follows.
        let Ok(Some(file)) = open_once(index, i) else { continue };
        let _ = fadvise(file, index.columns.offsets[i], Some(length), Advice::WillNeed);
    }
}

/// The archive of sample `i`, opened at its first use; nothing where it is one of too many.
fn open_once(index: &Index, i: usize) -> io::Result<Option<&File>> {
    let number = index.columns.places[i] as usize;
    let (place, handle) = &index.places[number];
    if number >= MAX_OPEN {
        return Ok(None);
    }
    if let Some(file) = handle.get() {
        return Ok(Some(file));
    }
    let file = File::open(place)?;
    Ok(Some(handle.get_or_init(|| file)))
}

/// One thread's buffers.
#[derive(Default)]
pub(super) struct SpanReader {
    path: PathBuf,
}

impl SpanReader {
    /// Fills `bytes` with sample `i`.
    pub(super) fn read(&mut self, index: &Index, i: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
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
        bytes.resize(length as usize, 0);
        match open_once(index, i)? {
            Some(file) => file.read_exact_at(bytes, offset)?,
            None => File::open(index.place(i))?.read_exact_at(bytes, offset)?,
        }
        if index.columns.flags[i] & SPLIT_RECORD != 0 {
            recordio::join(bytes)?;
        }
        Ok(())
    }
}

fn too_long() -> io::Error {
    io::Error::other(format!("{MAX_FILE_LEN} bytes or more are no picture"))
}
