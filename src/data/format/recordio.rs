//! MXNet's RecordIO, as written by `im2rec`, read in place. The offset file (`.idx`) is not needed;
//! if it exists, it must list the same number of records.
//!
//! Layout (dmlc-core `recordio.h`, MXNet `image_recordio.h`), little endian: a magic number, then a
//! word whose upper 3 bits say which part of a record this is and whose other bits are its length,
//! then the part, padded to 4 bytes. A record has 24 bytes of header (number of labels or 0, the
//! label, two ids), the labels if there are several, and the image.
//!
//! If the magic number itself occurs in a record, the writer removes it and splits the record
//! there. By chance this happens to a handful of `ImageNet`'s images, which are joined again when
//! they are read ([`join`]).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::data::{
    error::DataError,
    format::shards::{Shard, Window, class, each, fault, invalid, number_classes, truncated},
    index::{Entry, Index, SPLIT_RECORD},
};

const MAGIC: [u8; 4] = 0xced7_230a_u32.to_le_bytes();
/// Bytes of a part's magic number and length.
const PART_HEADER: u64 = 8;
/// Bytes of a record's header, before labels and image.
const HEADER: u64 = 24;
/// Limit of labels per record; a classifier has one.
const MAX_LABELS: u32 = 1024;

/// Lists the images of `files`.
pub(in crate::data) fn scan(files: &[PathBuf]) -> Result<Index, DataError> {
    let mut num_before = 0;
    let mut index = each(files, |shard, index| {
        let mut records = Records { window: Window::new(shard), at: 0 };
        while records.at < shard.length {
            records.push_next(shard, index)?;
        }
        check_offsets(&files[shard.place as usize], index.len() - num_before)?;
        num_before = index.len();
        Ok(())
    })?;
    if u32::try_from(index.columns.names.len()).is_err() {
        return Err(fault(&files[0], &"more records than an index can hold"));
    }
    number_classes(&mut index, 0);
    Ok(index)
}

/// Compares the offset file, if there is one, with the records that were found.
fn check_offsets(records: &Path, num_records: usize) -> io::Result<()> {
    let Ok(text) = fs::read_to_string(records.with_extension("idx")) else { return Ok(()) };
    let num_lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if num_lines == num_records {
        return Ok(());
    }
    Err(invalid(format!("it has {num_records} records, but its .idx file lists {num_lines}")))
}

struct Records<'a> {
    window: Window<'a>,
    at: u64,
}

/// The position of a part within its record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    First,
    Middle,
    Last,
}

impl Part {
    /// The kind and the length of a part, from its header.
    fn parse(header: [u8; 8]) -> io::Result<(Self, u32)> {
        let [magic @ .., a, b, c, d] = header;
        if magic != MAGIC {
            return Err(truncated());
        }
        let word = u32::from_le_bytes([a, b, c, d]);
        let part = match word >> 29 {
            0 => Self::Whole,
            1 => Self::First,
            2 => Self::Middle,
            3 => Self::Last,
            _ => return Err(truncated()),
        };
        Ok((part, word & ((1 << 29) - 1)))
    }
}

impl Records<'_> {
    fn push_next(&mut self, shard: &Shard, index: &mut Index) -> io::Result<()> {
        let record = self.at;
        let (part, length) = Part::parse(self.window.array(record)?)?;
        let start = record + PART_HEADER;
        let mut end = shard.end(start, u64::from(length))?;
        let flags = match part {
            Part::Whole => 0,
            Part::First => {
                end = self.last_part(shard, end)?;
                SPLIT_RECORD
            }
            Part::Middle | Part::Last => return Err(truncated()),
        };
        let header = self.header(start, u64::from(length))?;
        let offset = if flags == 0 { start + header.length } else { record };
        let length = u32::try_from(end - offset).map_err(|_| truncated())?;
        let (place, size, label) = (shard.place, [0; 2], header.label);
        let name = header.id.to_string();
        let name = name.as_bytes();
        index.push(&Entry { place, offset, length, label, size, flags, name });
        // The last record may lack its padding.
        self.at = end.next_multiple_of(4);
        Ok(())
    }

    /// The end of the last part of a record whose first part ends at `end`.
    fn last_part(&mut self, shard: &Shard, mut end: u64) -> io::Result<u64> {
        loop {
            let at = end.next_multiple_of(4);
            let (part, length) = Part::parse(self.window.array(at)?)?;
            end = shard.end(at + PART_HEADER, u64::from(length))?;
            match part {
                Part::Middle => {}
                Part::Last => return Ok(end),
                Part::Whole | Part::First => return Err(truncated()),
            }
        }
    }

    /// The header of a record whose first part has `part_len` bytes.
    fn header(&mut self, start: u64, part_len: u64) -> io::Result<Header> {
        if part_len < HEADER {
            return Err(truncated());
        }
        let num_labels = self.window.u32(start)?;
        if num_labels > MAX_LABELS {
            return Err(truncated());
        }
        let length = HEADER + 4 * u64::from(num_labels);
        if part_len < length {
            return Err(truncated());
        }
        let label = self.window.u32(start + if num_labels == 0 { 4 } else { HEADER })?;
        let label = whole(f32::from_bits(label))?;
        let id = self.window.u64(start + 8)?;
        Ok(Header { id, label, length })
    }
}

struct Header {
    id: u64,
    label: u32,
    /// Bytes of the header with the labels.
    length: u64,
}

/// Labels are stored as floats.
fn whole(label: f32) -> io::Result<u32> {
    if label >= 0.0 && label.fract() == 0.0 {
        return class(label as u64);
    }
    Err(invalid(format!("label {label} is not a class number")))
}

/// Joins the parts of a split record into its image, in place.
pub(in crate::data) fn join(record: &mut Vec<u8>) -> io::Result<()> {
    let (mut from, mut to) = (0, 0);
    loop {
        let header =
            record.get(from..from + 8).and_then(<[u8]>::first_chunk).ok_or_else(truncated)?;
        let (part, length) = Part::parse(*header)?;
        let (start, length) = (from + 8, length as usize);
        record.get(start..start + length).ok_or_else(truncated)?;
        record.copy_within(start..start + length, to);
        to += length;
        if part == Part::Last {
            break;
        }
        // The magic number is shorter than the header of the next part, which it replaces.
        record[to..to + 4].copy_from_slice(&MAGIC);
        to += 4;
        from = (start + length).next_multiple_of(4);
    }
    record.truncate(to);
    let num_labels =
        record.first_chunk().map(|word| u32::from_le_bytes(*word)).ok_or_else(truncated)?;
    let skip = HEADER as usize + 4 * num_labels.min(MAX_LABELS) as usize;
    if skip > record.len() {
        return Err(truncated());
    }
    record.drain(..skip);
    Ok(())
}
