//! Arrow IPC streams of images, read in place: stores of `data import`, and the caches and saved
//! data sets of Hugging Face's `datasets`.
//!
//! Only messages, offsets and small columns are read; image bytes stay on disk. The layout of a
//! record batch follows the specification of the columnar format, section "Recordbatch message":
//! one node per field and its buffers, depth first.

use std::{collections::HashSet, io, path::PathBuf};

use arrow_ipc::{MessageHeader, RecordBatch, convert::try_fb_to_schema, root_as_message};
use arrow_schema::{DataType, Field, Schema};

use crate::data::{
    config::StoreDivision,
    error::DataError,
    format::shards::{self, class, each, invalid, number_classes, other, truncated},
    index::{Entry, Index},
};

/// Metadata key of the division in the schema.
pub(in crate::data) const DIVISION: &str = "mlperf_run.division";

/// Limit of a message's metadata, which takes some hundred bytes: a damaged length must not fill
/// the memory.
const MAX_METADATA: u64 = 1 << 26;
/// First bytes of the file variant. Its messages follow as in a stream.
const FILE_MAGIC: &[u8; 8] = b"ARROW1\0\0";

/// Lists the images of `files`.
pub(in crate::data) fn scan(files: &[PathBuf]) -> Result<Index, DataError> {
    let mut index = each(files, |shard, index| Shard(shard).scan(index))?;
    if index.classes.is_empty() {
        number_classes(&mut index, 0);
    }
    let num_classes = index.classes.len() as u32;
    if let Some(i) = index.columns.labels.iter().position(|&label| label >= num_classes) {
        let (label, path) = (index.columns.labels[i], index.place(i).to_owned());
        let reason = format!("row {i} has label {label} of {num_classes} classes");
        return Err(shards::fault(&path, &reason));
    }
    Ok(index)
}

struct Shard<'a>(&'a shards::Shard);

impl Shard<'_> {
    fn scan(&self, index: &mut Index) -> io::Result<()> {
        let length = self.0.length;
        let mut position = 0;
        let mut columns = None;
        if self.read(0, 8, length)? == FILE_MAGIC {
            position = 8;
        }
        while position < length {
            let mut metadata_len = self.word(position, length)?;
            position += 4;
            if metadata_len == u32::MAX {
                metadata_len = self.word(position, length)?;
                position += 4;
            }
            if metadata_len == 0 {
                break;
            }
            let bytes = self.read(position, u64::from(metadata_len), length)?;
            let message = root_as_message(&bytes).map_err(other)?;
            let body = position + u64::from(metadata_len);
            let body_len = u64::try_from(message.bodyLength()).map_err(other)?;
            position =
                body.checked_add(body_len).filter(|&end| end <= length).ok_or_else(truncated)?;
            match message.header_type() {
                MessageHeader::Schema => {
                    let schema = message.header_as_schema().ok_or_else(truncated)?;
                    let schema = try_fb_to_schema(schema).map_err(other)?;
                    index.classes = class_names(&schema, index)?;
                    index.division = index.division.max(division_in(&schema)?);
                    columns = Some(Columns::find(&schema)?);
                }
                MessageHeader::RecordBatch => {
                    let batch = message.header_as_record_batch().ok_or_else(truncated)?;
                    let columns =
                        columns.as_ref().ok_or_else(|| invalid("rows come before the schema"))?;
                    Rows { shard: self, body, end: position }.push(&batch, columns, index)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn word(&self, at: u64, end: u64) -> io::Result<u32> {
        let bytes = self.read(at, 4, end)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    fn read(&self, at: u64, length: u64, end: u64) -> io::Result<Vec<u8>> {
        if at.checked_add(length).is_none_or(|last| last > end) {
            return Err(truncated());
        }
        self.0.read(at, length, MAX_METADATA)
    }
}

/// A column: its node, its first buffer (validity) and the width of a value, if it is fixed.
#[derive(Clone, Copy)]
struct Column {
    node: usize,
    buffer: usize,
    width: u64,
}

/// The columns that are read.
struct Columns {
    /// Width of an offset: 4 bytes, or 8 in large columns.
    bytes: Column,
    path: Option<Column>,
    label: Column,
    width: Option<Column>,
    height: Option<Column>,
}

impl Columns {
    fn find(schema: &Schema) -> io::Result<Self> {
        let (mut node, mut buffer) = (0, 0);
        let (mut bytes, mut path) = (None, None);
        let (mut label, mut width, mut height) = (None, None, None);
        for field in schema.fields() {
            let column = Column { node, buffer, width: value_width(field.data_type()) };
            match (field.name().as_str(), field.data_type()) {
                ("label" | "labels", kind) if kind.is_integer() => label = Some(column),
                ("width", kind) if kind.is_integer() => width = Some(column),
                ("height", kind) if kind.is_integer() => height = Some(column),
                (_, DataType::Struct(parts)) if bytes.is_none() => {
                    let (mut node, mut buffer) = (node + 1, buffer + 1);
                    for part in parts {
                        let column = Column { node, buffer, width: value_width(part.data_type()) };
                        match (part.name().as_str(), part.data_type()) {
                            ("bytes", DataType::Binary | DataType::LargeBinary) => {
                                bytes = Some(column);
                            }
                            ("path", DataType::Utf8) => path = Some(column),
                            _ => {}
                        }
                        let (nodes, buffers) = shape(part)?;
                        (node, buffer) = (node + nodes, buffer + buffers);
                    }
                }
                _ => {}
            }
            let (nodes, buffers) = shape(field)?;
            (node, buffer) = (node + nodes, buffer + buffers);
        }
        match (bytes, label) {
            (Some(bytes), Some(label)) => Ok(Self { bytes, path, label, width, height }),
            (None, _) => Err(invalid("no image column (a struct of bytes and path)")),
            (_, None) => Err(invalid("no integer column named label")),
        }
    }
}

/// One record batch.
struct Rows<'a> {
    shard: &'a Shard<'a>,
    body: u64,
    end: u64,
}

impl Rows<'_> {
    fn push(
        &self,
        batch: &RecordBatch<'_>,
        columns: &Columns,
        index: &mut Index,
    ) -> io::Result<()> {
        if batch.compression().is_some() {
            return Err(invalid("it is compressed; write it without compression, or import it"));
        }
        let num_rows = u64::try_from(batch.length()).map_err(other)?;
        for column in [columns.bytes, columns.label] {
            let nodes = batch.nodes().ok_or_else(truncated)?;
            if column.node >= nodes.len() || nodes.get(column.node).null_count() != 0 {
                return Err(invalid("a row has no image or no label"));
            }
        }
        let (data, data_len) = self.buffer(batch, columns.bytes.buffer + 2)?;
        let offsets = self.integers(batch, columns.bytes, num_rows + 1)?;
        let labels = self.integers(batch, columns.label, num_rows)?;
        let sizes = [columns.height, columns.width].map(|column| {
            column.map_or(Ok(vec![0; num_rows as usize]), |it| self.integers(batch, it, num_rows))
        });
        let [heights, widths] = sizes;
        let (heights, widths) = (heights?, widths?);
        let names = columns.path.map(|column| self.names(batch, column, num_rows)).transpose()?;
        let names = names.unwrap_or_default();
        for row in 0..num_rows as usize {
            let (start, end) = (offsets[row], offsets[row + 1]);
            let length =
                end.checked_sub(start).filter(|_| end <= data_len).ok_or_else(truncated)?;
            let unnamed = format!("row {}", index.len());
            let name = names.get(row).filter(|name| !name.is_empty());
            index.push(&Entry {
                place: self.shard.0.place,
                offset: data + start,
                length: u32::try_from(length).map_err(other)?,
                label: class(labels[row])?,
                size: [heights[row], widths[row]]
                    .map(|image_size| u16::try_from(image_size).unwrap_or(0)),
                flags: 0,
                name: name.map_or(unnamed.as_bytes(), Vec::as_slice),
            });
        }
        Ok(())
    }

    /// Offset and length of buffer `i`, which must be within the batch.
    fn buffer(&self, batch: &RecordBatch<'_>, i: usize) -> io::Result<(u64, u64)> {
        let buffers = batch.buffers().filter(|buffers| i < buffers.len()).ok_or_else(truncated)?;
        let offset = u64::try_from(buffers.get(i).offset()).map_err(other)?;
        let length = u64::try_from(buffers.get(i).length()).map_err(other)?;
        let start = self.body.checked_add(offset).ok_or_else(truncated)?;
        let end = start.checked_add(length).ok_or_else(truncated)?;
        if end > self.end { Err(truncated()) } else { Ok((start, length)) }
    }

    /// The first `count` numbers of a column's values or offsets, none of which may be negative.
    fn integers(&self, batch: &RecordBatch<'_>, of: Column, count: u64) -> io::Result<Vec<u64>> {
        let (start, length) = self.buffer(batch, of.buffer + 1)?;
        let wanted =
            count.checked_mul(of.width).filter(|&it| it <= length).ok_or_else(truncated)?;
        let bytes = self.shard.read(start, wanted, self.end)?;
        let numbers = bytes.chunks_exact(of.width as usize).map(|value| {
            let mut wide = [0; 8];
            wide[..value.len()].copy_from_slice(value);
            u64::from_le_bytes(wide)
        });
        // A negative number becomes huge, which every later bounds check rejects.
        Ok(numbers.collect())
    }

    fn names(&self, batch: &RecordBatch<'_>, of: Column, count: u64) -> io::Result<Vec<Vec<u8>>> {
        let ends = self.integers(batch, of, count + 1)?;
        let (start, length) = self.buffer(batch, of.buffer + 2)?;
        let bytes = self.shard.read(start, length, self.end)?;
        let name = |pair: &[u64]| bytes.get(pair[0] as usize..pair[1] as usize).map(<[u8]>::to_vec);
        ends.windows(2).map(|pair| name(pair).ok_or_else(truncated)).collect()
    }
}

/// Width of a fixed-width value or of an offset, bytes.
fn value_width(kind: &DataType) -> u64 {
    match kind {
        DataType::Utf8 | DataType::Binary => 4,
        DataType::LargeUtf8 | DataType::LargeBinary => 8,
        kind => kind.primitive_width().unwrap_or(0) as u64,
    }
}

/// Number of nodes and buffers of a field.
fn shape(field: &Field) -> io::Result<(usize, usize)> {
    let (children, own): (Vec<&Field>, usize) = match field.data_type() {
        DataType::Null => (Vec::new(), 0),
        DataType::Boolean | DataType::FixedSizeBinary(_) | DataType::Dictionary(..) => {
            (Vec::new(), 2)
        }
        DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => {
            (Vec::new(), 3)
        }
        DataType::Struct(fields) => (fields.iter().map(AsRef::as_ref).collect(), 1),
        DataType::List(child) | DataType::LargeList(child) => (vec![child.as_ref()], 2),
        DataType::FixedSizeList(child, _) => (vec![child.as_ref()], 1),
        kind if kind.primitive_width().is_some() => (Vec::new(), 2),
        kind => {
            return Err(invalid(format!(
                "column {} has the unsupported type {kind}",
                field.name()
            )));
        }
    };
    children.into_iter().try_fold((1, own), |(nodes, buffers), child| {
        let (more_nodes, more_buffers) = shape(child)?;
        Ok((nodes + more_nodes, buffers + more_buffers))
    })
}

/// Names of the classes if the schema has Hugging Face's features; all shards must agree.
fn class_names(schema: &Schema, index: &Index) -> io::Result<Vec<String>> {
    let names = schema.metadata().get("huggingface").and_then(|text| {
        let features: serde_json::Value = serde_json::from_str(text).ok()?;
        let features = &features["info"]["features"];
        let label = features.get("label").or_else(|| features.get("labels"))?;
        serde_json::from_value::<Vec<String>>(label["names"].clone()).ok()
    });
    let names = names.unwrap_or_default();
    let mut known = HashSet::new();
    if let Some(name) = names.iter().find(|name| !known.insert(*name)) {
        return Err(invalid(format!("two classes are named {name:?}; give each a different name")));
    }
    if !index.is_empty() && names != index.classes {
        return Err(invalid("its class names differ from those of the previous shards"));
    }
    Ok(names)
}

/// The division in a shard's schema; `None` if another program or an older version wrote the shard.
fn division_in(schema: &Schema) -> io::Result<Option<StoreDivision>> {
    let word = schema.metadata().get(DIVISION);
    let known = word.map(|word| serde_json::from_value(serde_json::json!(word)));
    known.transpose().map_err(|error| {
        io::Error::other(format!("unknown value of {DIVISION}: {error}; update mlperf-run"))
    })
}
