//! MosaicML's MDS shards, read in place if they are uncompressed.
//!
//! `index.json` lists the shards of a folder with names, encodings and sizes of their columns. A
//! shard has the number of its samples, their offsets (one more than samples), its config, then the
//! samples: sizes of the variable-size columns, then the columns. All numbers are 32 bits, little
//! endian (streaming's `MDSWriter`, version 2).

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use crate::data::{
    error::DataError,
    format::shards::{
        Shard, Window, class, each, fault, invalid, number_classes, other, truncated,
    },
    index::{Entry, FileStamp, Index},
};

/// Name of the list of shards.
pub(in crate::data) const LISTING: &str = "index.json";
/// Limit of the list's length: 100 000 shards.
const MAX_LISTING: u64 = 1 << 26;
/// Names of byte columns that hold images, and of integer columns that hold labels.
const IMAGES: [&str; 7] = ["image", "img", "jpg", "jpeg", "x", "bytes", "image_bytes"];
const LABELS: [&str; 6] = ["label", "labels", "y", "class", "cls", "target"];

#[derive(Deserialize)]
struct Listing {
    version: u32,
    shards: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    format: String,
    column_names: Vec<String>,
    column_encodings: Vec<String>,
    column_sizes: Vec<Option<u64>>,
    raw_data: RawData,
    samples: u32,
}

#[derive(Deserialize)]
struct RawData {
    basename: PathBuf,
}

/// Lists the images of the shards that `listing` names.
pub(in crate::data) fn scan(listing: &Path) -> Result<Index, DataError> {
    let listed = read(listing).map_err(|error| fault(listing, &error))?;
    let folder = listing.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for shard in &listed {
        let name = &shard.raw_data.basename;
        let path = folder.join(name);
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(fault(listing, &format!("shard {} is missing", name.display())));
        }
        if !path.is_file() {
            return Err(fault(
                &path,
                &"it is not there uncompressed; write the shards with compression=None, or \
                  decompress them under the names that index.json has for raw_data",
            ));
        }
        files.push(path);
    }
    if files.is_empty() {
        return Err(DataError::NoImages(listing.to_owned()));
    }
    let mut index = each(&files, |shard, index| {
        let listed = &listed[shard.place as usize];
        let columns = Columns::find(listed)?;
        Rows { shard, columns, num_samples: listed.samples }.push(index)
    })?;
    index.stamps.push(FileStamp::of(listing).map_err(|error| fault(listing, &error))?);
    number_classes(&mut index, 0);
    Ok(index)
}

fn read(listing: &Path) -> io::Result<Vec<Listed>> {
    let file = Shard::open(listing, 0)?;
    let bytes = file.read(0, file.length, MAX_LISTING)?;
    let listing: Listing = serde_json::from_slice(&bytes).map_err(other)?;
    if listing.version != 2 {
        return Err(invalid(format!(
            "unknown version {} of MDS; write version 2",
            listing.version
        )));
    }
    if let Some(shard) = listing.shards.iter().find(|shard| shard.format != "mds") {
        return Err(invalid(format!("its shards have the format {} instead of mds", shard.format)));
    }
    Ok(listing.shards)
}

/// Positions of image and label among the columns of a shard.
struct Columns {
    sizes: Vec<Option<u64>>,
    image: usize,
    label: usize,
    /// The label is text.
    label_is_text: bool,
}

impl Columns {
    fn find(listed: &Listed) -> io::Result<Self> {
        let Listed { column_names: names, column_encodings: encodings, .. } = listed;
        let sizes = listed.column_sizes.clone();
        if names.len() != encodings.len() || names.len() != sizes.len() {
            return Err(invalid("index.json has column lists of different lengths"));
        }
        let of = |wanted: &dyn Fn(&str, &str) -> bool| {
            names.iter().zip(encodings).position(|(name, encoding)| wanted(name, encoding))
        };
        let is_whole = |encoding: &str| encoding.trim_start_matches('u').starts_with("int");
        let image = of(&|_, encoding| matches!(encoding, "jpeg" | "png"))
            .or_else(|| of(&|name, encoding| encoding == "bytes" && IMAGES.contains(&name)));
        let image = image.ok_or_else(|| {
            invalid(
                "no column of JPEG or PNG files (encoding jpeg or png, or bytes named image); \
                 columns of encoding pil and ndarray hold pixels: write them with encoding jpeg",
            )
        })?;
        let is_label = |name: &str, encoding: &str| {
            LABELS.contains(&name) && (is_whole(encoding) || encoding == "str_int")
        };
        let label = of(&is_label).or_else(|| of(&|_, encoding| is_whole(encoding)));
        let label = label.ok_or_else(|| invalid("no integer column named label"))?;
        let label_is_text = encodings[label] == "str_int";
        if !label_is_text && sizes[label].is_none_or(|size| !(1..=8).contains(&size)) {
            return Err(invalid("the size of the labels is not that of an integer"));
        }
        Ok(Self { sizes, image, label, label_is_text })
    }
}

struct Rows<'a> {
    shard: &'a Shard,
    columns: Columns,
    num_samples: u32,
}

impl Rows<'_> {
    fn push(&self, index: &mut Index) -> io::Result<()> {
        let mut heads = Window::new(self.shard);
        let mut window = Window::new(self.shard);
        if heads.u32(0)? != self.num_samples {
            return Err(invalid("the number of samples differs from index.json"));
        }
        for sample in 0..u64::from(self.num_samples) {
            let (start, end) = (heads.u32(4 + 4 * sample)?, heads.u32(8 + 4 * sample)?);
            let spans = self.spans(&mut window, u64::from(start), u64::from(end))?;
            let [(offset, length), label] = [spans[self.columns.image], spans[self.columns.label]];
            let label = if self.columns.label_is_text {
                let text = self.shard.read(label.0, label.1, 32)?;
                let text = String::from_utf8(text).map_err(other)?;
                text.trim().parse().map_err(other)?
            } else {
                window.number(label.0, label.1)?
            };
            let name = format!("row {}", index.len());
            index.push(&Entry {
                place: self.shard.place,
                offset,
                length: u32::try_from(length).map_err(other)?,
                label: class(label)?,
                size: [0; 2],
                flags: 0,
                name: name.as_bytes(),
            });
        }
        Ok(())
    }

    /// Offset and length of each column of a sample.
    fn spans(&self, window: &mut Window<'_>, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
        let sizes = &self.columns.sizes;
        let num_variable = sizes.iter().filter(|size| size.is_none()).count() as u64;
        let (mut head, mut at) = (start, start + 4 * num_variable);
        let mut spans = Vec::with_capacity(sizes.len());
        for size in sizes {
            let size = if let Some(size) = size {
                *size
            } else {
                head += 4;
                u64::from(window.u32(head - 4)?)
            };
            spans.push((at, size));
            at = self.shard.end(at, size)?;
        }
        // The columns must fill the sample exactly.
        if at == end { Ok(spans) } else { Err(truncated()) }
    }
}
