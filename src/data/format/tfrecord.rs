//! TFRecord files of `tf.Example`, read in place: the 1024 and 128 files of MLPerf's reference
//! (keys `image/encoded` and `image/class/label`) and those of TensorFlow Datasets (keys `image`
//! and `label`).
//!
//! A record is its length, a checksum of the length, the message, and a checksum of the message.
//! The first checksum is verified when the index is made, the second during an import, which reads
//! every image anyway.
//!
//! Labels in `image/class/label` count from 1: the reference subtracts 1 from each. If a 0 occurs,
//! they are taken as they are. Classes are named by `image/class/synset` if all records have it.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::data::{
    error::DataError,
    format::shards::{
        Shard, Window, check_uncompressed, class, each, fault, invalid, number_classes, truncated,
    },
    index::{Entry, Index},
};

/// Limit of the text read from a record: names of files and classes.
const MAX_TEXT: u64 = 1024;

/// Whether a file's name is that of a shard: `*.tfrecord`, or `NAME-00000-of-01024`.
pub(in crate::data) fn is_shard(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_number = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_numbered = name.rsplit_once("-of-").is_some_and(|(front, num_shards)| {
        let number = front.rsplit_once('-').map_or("", |(_, number)| number);
        is_number(number) && is_number(num_shards)
    });
    is_numbered || [".tfrecord", ".tfrecords"].iter().any(|ending| name.ends_with(ending))
}

/// Lists the images of `shards`; `train` names the classes of validation images.
pub(in crate::data) fn scan(shards: &[PathBuf], train: Option<&Index>) -> Result<Index, DataError> {
    let mut labels = Labels::default();
    let mut index = each(shards, |shard, index| {
        let mut window = Window::new(shard);
        check_uncompressed(&window.array::<8>(0).unwrap_or_default())?;
        let mut at = 0;
        while at < shard.length {
            let message = record(&mut window, at)?;
            let example = Example::read(&mut window, message.clone())?;
            let absent = |key: &str| invalid(format!("the record at byte {at} has no {key}"));
            let image = example.image.ok_or_else(|| absent("image/encoded"))?;
            let (label, base) = example.label.ok_or_else(|| absent("image/class/label"))?;
            let label = labels.note(label, base, example.class)?;
            let name = example.name.unwrap_or_else(|| format!("record {}", index.len()).into());
            let size = example.size.map(|image_size| u16::try_from(image_size).unwrap_or(0));
            let length = u32::try_from(image.end - image.start).map_err(|_| truncated())?;
            let (place, offset, flags) = (shard.place, image.start, 0);
            index.push(&Entry { place, offset, length, label, size, flags, name: &name });
            at = message.end + 4;
        }
        Ok(())
    })?;
    labels.apply(&mut index, train).map_err(|error| fault(&shards[0], &error))?;
    Ok(index)
}

/// The range of the message in the record at `at`.
fn record(window: &mut Window<'_>, at: u64) -> io::Result<Range<u64>> {
    let length: [u8; 8] = window.array(at)?;
    if window.u32(at + 8)? != checksum(&length) {
        return Err(invalid(format!("the record at byte {at} has a damaged length")));
    }
    let start = at + 12;
    let end = window.shard.end(start, u64::from_le_bytes(length))?;
    window.shard.end(end, 4)?;
    Ok(start..end)
}

fn checksum(bytes: &[u8]) -> u32 {
    masked(crc32c::crc32c(bytes))
}

/// Masks a checksum as it is written, so that a file of checksums does not have the checksum of its
/// contents.
fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The message range of each image's record.
pub(in crate::data) struct Messages(Vec<Range<u64>>);

impl Messages {
    /// The records of `index`; `None` if it does not consist of TFRecord files.
    pub(in crate::data) fn of(index: &Index) -> Result<Option<Self>, DataError> {
        let mut places = index.places.iter().map(|(path, _)| path);
        if !places.all(|path| is_shard(path) && path.is_file()) {
            return Ok(None);
        }
        let mut messages = Vec::with_capacity(index.len());
        for (place, (path, _)) in index.places.iter().enumerate() {
            let mut walk = || -> io::Result<()> {
                let shard = Shard::open(path, place as u32)?;
                let (mut window, mut at) = (Window::new(&shard), 0);
                while at < shard.length {
                    let message = record(&mut window, at)?;
                    at = message.end + 4;
                    messages.push(message);
                }
                Ok(())
            };
            walk().map_err(|error| fault(path, &error))?;
        }
        Ok(Some(Self(messages)))
    }

    /// Returns an error if the image or the label in the record of sample `i` is damaged.
    pub(in crate::data) fn check(&self, index: &Index, i: usize) -> io::Result<()> {
        let shorter = || invalid("the file has been truncated since it was listed");
        let message = self.0.get(i).ok_or_else(shorter)?;
        let file = File::open(index.place(i))?;
        // Read in pieces, because a sparse file may claim a record of any length.
        let (mut piece, mut sum) = ([0; 1 << 14], 0);
        for at in message.clone().step_by(piece.len()) {
            let piece = &mut piece[..(message.end - at).min(1 << 14) as usize];
            file.read_exact_at(piece, at)?;
            sum = crc32c::crc32c_append(sum, piece);
        }
        let mut stored = [0; 4];
        file.read_exact_at(&mut stored, message.end)?;
        if masked(sum) == u32::from_le_bytes(stored) {
            return Ok(());
        }
        Err(invalid("the checksum of its TFRecord differs: image or label is damaged"))
    }
}

/// The contents of a record.
#[derive(Default)]
struct Example {
    image: Option<Range<u64>>,
    /// The label, and the number of the first class.
    label: Option<(u64, u32)>,
    class: Option<String>,
    name: Option<Vec<u8>>,
    /// Height and width, px; zeros where unknown.
    size: [u64; 2],
}

impl Example {
    /// `Example` has one message of features, which has one entry per feature, which has a key and
    /// a value (TensorFlow's `example.proto`).
    fn read(window: &mut Window<'_>, message: Range<u64>) -> io::Result<Self> {
        let mut example = Self::default();
        let mut outer = Fields { window, range: message };
        while let Some((number, features)) = outer.next()? {
            let (1, Content::Bytes(features)) = (number, features) else { continue };
            let mut inner = Fields { window: outer.window, range: features };
            while let Some((number, entry)) = inner.next()? {
                let (1, Content::Bytes(entry)) = (number, entry) else { continue };
                example.take(inner.window, entry)?;
            }
        }
        Ok(example)
    }

    fn take(&mut self, window: &mut Window<'_>, entry: Range<u64>) -> io::Result<()> {
        let (mut key, mut value) = (Vec::new(), 0..0);
        let mut fields = Fields { window, range: entry };
        while let Some(field) = fields.next()? {
            match field {
                (1, Content::Bytes(range)) => key = text(fields.window, range)?,
                (2, Content::Bytes(range)) => value = range,
                _ => {}
            }
        }
        let number = |window: &mut _, range| Ok::<_, io::Error>(first(window, range)?.number());
        match key.as_slice() {
            b"image/encoded" | b"image" => self.image = first(window, value)?.bytes(),
            b"image/class/label" => self.label = number(window, value)?.map(|label| (label, 1)),
            b"label" => self.label = number(window, value)?.map(|label| (label, 0)),
            b"image/height" => self.size[0] = number(window, value)?.unwrap_or(0),
            b"image/width" => self.size[1] = number(window, value)?.unwrap_or(0),
            b"image/class/synset" => {
                let range = first(window, value)?.bytes().unwrap_or_default();
                self.class =
                    String::from_utf8(text(window, range)?).ok().filter(|it| !it.is_empty());
            }
            b"image/filename" | b"file_name" => {
                let range = first(window, value)?.bytes().unwrap_or_default();
                self.name = Some(text(window, range)?).filter(|name| !name.is_empty());
            }
            _ => {}
        }
        Ok(())
    }
}

/// The first value of a feature: a list of bytes (field 1), of floats (2) or of integers (3), each
/// with its values in field 1; integers may be packed.
fn first(window: &mut Window<'_>, feature: Range<u64>) -> io::Result<Content> {
    let mut lists = Fields { window, range: feature };
    while let Some((kind, list)) = lists.next()? {
        let Content::Bytes(list) = list else { continue };
        let mut values = Fields { window: lists.window, range: list };
        let Some((1, value)) = values.next()? else { continue };
        return match (kind, value) {
            (3, Content::Bytes(packed)) if packed.is_empty() => Ok(Content::Other),
            (3, Content::Bytes(packed)) => {
                let mut values = Fields { window: values.window, range: packed };
                values.varint().map(Content::Number)
            }
            (1 | 3, value) => Ok(value),
            _ => Ok(Content::Other),
        };
    }
    Ok(Content::Other)
}

fn text(window: &mut Window<'_>, range: Range<u64>) -> io::Result<Vec<u8>> {
    (range.start..range.end.min(range.start + MAX_TEXT))
        .map(|at| window.array::<1>(at).map(|[byte]| byte))
        .collect()
}

/// The contents of a message's field.
enum Content {
    Number(u64),
    Bytes(Range<u64>),
    Other,
}

impl Content {
    fn number(self) -> Option<u64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    fn bytes(self) -> Option<Range<u64>> {
        if let Self::Bytes(range) = self { Some(range) } else { None }
    }
}

/// Walks the fields of a message (Protocol Buffers, "Encoding").
struct Fields<'a, 'b> {
    window: &'a mut Window<'b>,
    range: Range<u64>,
}

impl Fields<'_, '_> {
    /// The number and contents of the next field.
    fn next(&mut self) -> io::Result<Option<(u64, Content)>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Number(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = self.varint()?;
                let start = self.range.start;
                self.skip(length)?;
                Content::Bytes(start..self.range.start)
            }
            5 => self.skip(4)?,
            _ => return Err(truncated()),
        };
        Ok(Some((tag >> 3, content)))
    }

    fn skip(&mut self, length: u64) -> io::Result<Content> {
        let end = self.range.start.checked_add(length).filter(|&end| end <= self.range.end);
        self.range.start = end.ok_or_else(truncated)?;
        Ok(Content::Other)
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.range.is_empty() {
                return Err(truncated());
            }
            let [byte] = self.window.array(self.range.start)?;
            self.range.start += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(truncated())
    }
}

/// What the records say about their classes.
#[derive(Default)]
struct Labels {
    /// The base of the key that the records use.
    base: Option<u32>,
    has_zero: bool,
    /// Class names by stored label.
    names: BTreeMap<u32, String>,
}

impl Labels {
    fn note(&mut self, label: u64, base: u32, name: Option<String>) -> io::Result<u32> {
        let label = class(label)?;
        self.has_zero |= label == 0;
        if *self.base.get_or_insert(base) != base {
            return Err(invalid("the records mix the keys image/class/label and label"));
        }
        if let Some(name) = name {
            let known = self.names.entry(label).or_insert_with(|| name.clone());
            if *known != name {
                return Err(invalid(format!("label {label} is named both {known} and {name}")));
            }
        }
        Ok(label)
    }

    /// Makes labels count from 0 and names the classes.
    fn apply(self, index: &mut Index, train: Option<&Index>) -> io::Result<()> {
        let own = if self.has_zero { 0 } else { self.base.unwrap_or(0) };
        let base = train.map_or(own, |train| self.base_of(train).unwrap_or(own));
        for label in &mut index.columns.labels {
            *label = label.checked_sub(base).ok_or_else(|| {
                invalid("label 0 occurs, but the labels of the training images count from 1")
            })?;
        }
        let highest = index.columns.labels.iter().max().copied().unwrap_or(0);
        let names: Vec<_> = (0..=highest).map_while(|it| self.names.get(&(it + base))).collect();
        if names.len() > highest as usize {
            index.classes = names.into_iter().cloned().collect();
        } else {
            number_classes(index, base);
        }
        if let Some(train) = train.filter(|train| self.names_fit(train, base)) {
            index.classes.clone_from(&train.classes);
        }
        Ok(())
    }

    /// The number of the first class, as determined by the training images.
    fn base_of(&self, train: &Index) -> Option<u32> {
        let numbered = train.classes.first().and_then(|name| name.parse().ok());
        [1, 0].into_iter().find(|&base| self.names_fit(train, base)).or(numbered)
    }

    fn names_fit(&self, train: &Index, base: u32) -> bool {
        let fits = |(label, name): (&u32, &String)| {
            let place = label.checked_sub(base).map(|place| place as usize);
            place.and_then(|place| train.classes.get(place)) == Some(name)
        };
        !self.names.is_empty() && self.names.iter().all(fits)
    }
}
