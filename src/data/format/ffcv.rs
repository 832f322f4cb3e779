//! FFCV's `.beton` and `.ffcv` files, read in place.
//!
//! Layout (ffcv `types.py`, version 2), little endian: a header of 24 bytes, a descriptor of 1041
//! bytes per field, the metadata of all samples, pages of images, and the allocation table with the
//! length of each image. The metadata of a sample is that of its fields, aligned as by a C
//! compiler.

use std::{io, path::Path};

use crate::data::{
    error::DataError,
    format::shards::{Shard, class, each, invalid, number_classes, truncated},
    index::{Entry, Index, PIXELS},
};

/// Limit of the metadata and allocation tables: 40 million samples.
const MAX_TABLE: u64 = 1 << 30;
const HEADER: u64 = 24;
const DESCRIPTOR: u64 = 1 + 16 + 1024;
/// Bytes of an allocation: sample, offset, length.
const ALLOCATION: usize = 24;
/// Types of fields.
const INT: u8 = 1;
const IMAGE: u8 = 2;
/// Storage modes of images.
const JPEG: u8 = 0;
const RAW: u8 = 1;

/// Lists the images of `file`.
pub(in crate::data) fn scan(file: &Path) -> Result<Index, DataError> {
    let mut index = each(&[file.to_owned()], push)?;
    number_classes(&mut index, 0);
    Ok(index)
}

fn push(shard: &Shard, index: &mut Index) -> io::Result<()> {
    let header = shard.read(0, HEADER, HEADER)?;
    if u16_at(&header, 0) != 2 {
        return Err(invalid(format!("unknown version {} of the format", u16_at(&header, 0))));
    }
    let (num_samples, table) = (u64_at(&header, 8), u64_at(&header, 16));
    let num_fields = u64::from(u16_at(&header, 2));
    let fields = Fields::read(shard, num_fields)?;
    let metadata = num_samples.checked_mul(fields.length as u64).ok_or_else(truncated)?;
    let metadata = shard.read(HEADER + num_fields * DESCRIPTOR, metadata, MAX_TABLE)?;
    let lengths = Lengths::read(shard, table)?;
    for sample in metadata.chunks_exact(fields.length) {
        let image = &sample[fields.image..];
        let row = index.len();
        // Mode, width, height, offset.
        let flags = match image[0] {
            JPEG => 0,
            RAW => PIXELS,
            mode => return Err(invalid(format!("sample {row} has unknown mode {mode}"))),
        };
        let (width, height) = (u16_at(image, 1), u16_at(image, 3));
        let offset = u64_at(image, 5);
        let length = lengths.of(offset)?;
        let num_values = u64::from(width) * u64::from(height) * 3;
        if flags == PIXELS && (num_values == 0 || num_values != u64::from(length)) {
            return Err(invalid(format!(
                "the number of pixels of sample {row} does not match its size"
            )));
        }
        let name = format!("sample {row}");
        index.push(&Entry {
            place: shard.place,
            offset,
            length,
            label: class(u64_at(sample, fields.label))?,
            size: [height, width],
            flags,
            name: name.as_bytes(),
        });
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Offsets of image and label within the metadata of a sample.
struct Fields {
    image: usize,
    label: usize,
    /// Bytes of a sample's metadata.
    length: usize,
}

impl Fields {
    fn read(shard: &Shard, num_fields: u64) -> io::Result<Self> {
        let descriptors = shard.read(HEADER, num_fields * DESCRIPTOR, MAX_TABLE)?;
        let (mut image, mut label) = (None, None);
        let (mut at, mut widest) = (0_usize, 1);
        for descriptor in descriptors.chunks_exact(DESCRIPTOR as usize) {
            // Length and alignment: integers and array offsets; images; bytes and JSON.
            let (length, alignment) = match descriptor[0] {
                0 | INT | 4 | 6 => (8, 8),
                IMAGE => (13, 1),
                3 | 5 => (16, 1),
                _ => return Err(invalid("a field has a custom type; keep only image and label")),
            };
            at = at.next_multiple_of(alignment);
            match descriptor[0] {
                INT if label.is_none() => label = Some(at),
                IMAGE if image.is_none() => image = Some(at),
                _ => {}
            }
            at += length;
            widest = widest.max(alignment);
        }
        let length = at.next_multiple_of(widest);
        match (image, label) {
            (Some(image), Some(label)) => Ok(Self { image, label, length }),
            (None, _) => Err(invalid("no image field (RGBImageField)")),
            (_, None) => Err(invalid("no label field (IntField)")),
        }
    }
}

/// Lengths of the images by offset.
struct Lengths(Vec<(u64, u32)>);

impl Lengths {
    fn read(shard: &Shard, table: u64) -> io::Result<Self> {
        let length = shard.length.checked_sub(table).ok_or_else(truncated)?;
        let bytes = shard.read(table, length, MAX_TABLE)?;
        let allocations = bytes.chunks_exact(ALLOCATION).map(|allocation| {
            let length = u32::try_from(u64_at(allocation, 16)).map_err(|_| truncated())?;
            let start = u64_at(allocation, 8);
            shard.end(start, u64::from(length))?;
            Ok((start, length))
        });
        let mut lengths = allocations.collect::<io::Result<Vec<_>>>()?;
        lengths.sort_unstable();
        Ok(Self(lengths))
    }

    fn of(&self, place: u64) -> io::Result<u32> {
        let found = self.0.binary_search_by_key(&place, |(start, _)| *start);
        found.map(|i| self.0[i].1).map_err(|_| invalid("an image has no allocation"))
    }
}
