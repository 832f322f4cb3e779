//! Writes one shard: an Arrow IPC stream with the columns and features of Hugging Face's
//! `datasets`.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    data::{
        config::StoreDivision,
        format::{arrow::DIVISION, error::StoreError, manifest::ShardRecord},
    },
    hash::hex,
};

/// One row.
#[derive(Clone, Debug)]
pub(in crate::data) struct Row {
    pub(in crate::data) bytes: Vec<u8>,
    pub(in crate::data) name: String,
    pub(in crate::data) label: usize,
    pub(in crate::data) width: usize,
    pub(in crate::data) height: usize,
}

/// The schema of shards with these classes.
pub(in crate::data) fn schema(classes: &[String], division: StoreDivision) -> Schema {
    let features = json!({"info": {"features": {
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
        "width": {"dtype": "int32", "_type": "Value"},
        "height": {"dtype": "int32", "_type": "Value"},
    }}});
    let field = |name, kind| Field::new(name, kind, true);
    let image = DataType::Struct(image_fields());
    let fields = vec![
        field("image", image),
        field("label", DataType::Int64),
        field("width", DataType::Int32),
        field("height", DataType::Int32),
    ];
    let division = json!(division).as_str().map(str::to_owned).expect("its JSON is a string");
    let metadata = [("huggingface", features.to_string()), (DIVISION, division)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    Schema::new(fields).with_metadata(HashMap::from(metadata))
}

fn image_fields() -> Fields {
    let bytes = Field::new("bytes", DataType::Binary, true);
    Fields::from(vec![bytes, Field::new("path", DataType::Utf8, true)])
}

/// Writes a shard under a temporary name and renames it when it is complete.
pub(in crate::data) struct ShardWriter {
    writer: StreamWriter<Hashing>,
    schema: Arc<Schema>,
    num_rows: usize,
}

impl ShardWriter {
    pub(in crate::data) fn create(path: &Path, schema: &Arc<Schema>) -> Result<Self, StoreError> {
        let partial = partial(path);
        let file = File::create(&partial).map_err(StoreError::io("create", &partial))?;
        let out = Hashing { file: BufWriter::new(file), hasher: Sha256::new(), length: 0 };
        let writer = StreamWriter::try_new(out, schema).map_err(|error| io_of(path, error))?;
        Ok(Self { writer, schema: Arc::clone(schema), num_rows: 0 })
    }

    /// Writes `rows` as one batch.
    pub(in crate::data) fn write(&mut self, path: &Path, rows: &[Row]) -> Result<(), StoreError> {
        self.num_rows += rows.len();
        let bytes = BinaryArray::from_iter_values(rows.iter().map(|row| &row.bytes));
        let names = StringArray::from_iter_values(rows.iter().map(|row| &row.name));
        let images: Vec<ArrayRef> = vec![Arc::new(bytes), Arc::new(names)];
        let sides = |side: fn(&Row) -> usize| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| side(row) as i32)))
        };
        let labels = Int64Array::from_iter_values(rows.iter().map(|row| row.label as i64));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StructArray::new(image_fields(), images, None)),
            Arc::new(labels),
            sides(|row| row.width),
            sides(|row| row.height),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        batch.and_then(|batch| self.writer.write(&batch)).map_err(|error| io_of(path, error))
    }

    pub(in crate::data) fn finish(self, path: &Path) -> Result<ShardRecord, StoreError> {
        let Hashing { file, hasher, length } =
            self.writer.into_inner().map_err(|error| io_of(path, error))?;
        let file =
            file.into_inner().map_err(|error| StoreError::io("write", path)(error.into_error()))?;
        file.sync_all().map_err(StoreError::io("write", path))?;
        fs::rename(partial(path), path).map_err(StoreError::io("rename", path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(ShardRecord {
            file: name,
            num_rows: self.num_rows,
            bytes: length,
            sha256: hex(hasher.finalize()),
        })
    }
}

/// The temporary name of an unfinished shard.
pub(in crate::data) fn partial(path: &Path) -> PathBuf {
    path.with_extension("partial")
}

fn io_of(path: &Path, error: ArrowError) -> StoreError {
    let source = match error {
        ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    };
    StoreError::Io { what: "write", path: path.to_owned(), source }
}

/// A writer that computes the hash of what it writes.
struct Hashing {
    file: BufWriter<File>,
    hasher: Sha256,
    length: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let num_written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..num_written]);
        self.length += num_written as u64;
        Ok(num_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
