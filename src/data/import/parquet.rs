//! Parquet holds compressed pages, not whole image files. An import therefore first unpacks it to
//! Arrow streams, which are read in place. The columns are those of Hugging Face's `datasets`:
//! `image` (a struct of `bytes` and `path`, or only the bytes) and `label`.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::BufWriter,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::data::{dataset::open::says, format::error::StoreError};

/// Images in memory at the same time.
const ROWS_PER_BATCH: usize = 64;
/// Words in the names of files or folders that identify a split.
const SPLITS: [&str; 3] = ["train", "val", "validation"];

/// Returns `source`, or `spool`, into which its Parquet files have been unpacked. Files that an
/// earlier attempt unpacked completely are reused.
pub(in crate::data) fn unpacked(source: &Path, spool: &Path) -> Result<PathBuf, StoreError> {
    let files = parquet_files(source)?;
    if files.is_empty() {
        return Ok(source.to_owned());
    }
    for (file, below) in files {
        let out = spool.join(below);
        if out.exists() {
            continue;
        }
        let folder = out.parent().unwrap_or(spool);
        fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        let partial = out.with_extension("partial");
        // The Parquet crate panics on some damaged files.
        catch_unwind(|| unpack(&file, &partial)).unwrap_or_else(|_| {
            let reason = "it is damaged; download it again".to_owned();
            Err(StoreError::Parquet { path: file.clone(), reason })
        })?;
        fs::rename(&partial, &out).map_err(StoreError::io("rename", &partial))?;
    }
    Ok(spool.to_owned())
}

/// The Parquet files of `source` and of its folders that belong to a split, each with its
/// destination. Hugging Face's hub keeps them in `data`.
fn parquet_files(source: &Path) -> Result<Vec<(PathBuf, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    let folders = [("", ""), ("data", ""), ("train", "train"), ("val", "val")];
    for (from, to) in folders.into_iter().chain([("validation", "val")]) {
        let folder = source.join(from);
        if !folder.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&folder).map_err(StoreError::io("list", &folder))?;
        for entry in entries {
            let path = entry.map_err(StoreError::io("list", &folder))?.path();
            let is_wanted = !to.is_empty() || says(&path, &SPLITS);
            if is_wanted && path.extension().is_some_and(|it| it == "parquet") {
                let name = path.file_stem().unwrap_or_default().to_owned();
                found.push((path, Path::new(to).join(name).with_extension("arrow")));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Unpacks one file, some rows at a time.
fn unpack(file: &Path, out: &Path) -> Result<(), StoreError> {
    let wrong = |reason: String| StoreError::Parquet { path: file.to_owned(), reason };
    let open = File::open(file).map_err(StoreError::io("open", file))?;
    // Use the types of Parquet, which do not depend on the program that wrote the file.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(open, options)
        .map_err(|error| wrong(error.to_string()))?;
    let columns = Columns::find(reader.schema()).map_err(wrong)?;
    let metadata = reader.metadata().file_metadata().key_value_metadata();
    let features = metadata.into_iter().flatten().find(|pair| pair.key == "huggingface");
    let features = features.and_then(|pair| Some((pair.key.clone(), pair.value.clone()?)));
    let features: HashMap<String, String> = features.into_iter().collect();
    let schema = Arc::new(columns.schema.clone().with_metadata(features));
    let mask = ProjectionMask::roots(reader.parquet_schema(), [columns.image, columns.label]);
    let reader = reader
        .with_projection(mask)
        .with_batch_size(ROWS_PER_BATCH)
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let cannot_write = |error: ArrowError| {
        let source = std::io::Error::other(error.to_string());
        StoreError::Io { what: "write", path: out.to_owned(), source }
    };
    let sink = BufWriter::new(File::create(out).map_err(StoreError::io("create", out))?);
    let mut writer = StreamWriter::try_new(sink, &schema).map_err(cannot_write)?;
    let mut num_rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| wrong(format!("after row {num_rows}: {error}")))?;
        let rows = columns.rows(&batch, num_rows).map_err(wrong)?;
        let rows = RecordBatch::try_new(Arc::clone(&schema), rows).map_err(cannot_write)?;
        writer.write(&rows).map_err(cannot_write)?;
        num_rows += batch.num_rows();
    }
    writer.finish().map_err(cannot_write)
}

/// Positions of image and label, and the schema that is written.
struct Columns {
    image: usize,
    label: usize,
    schema: Schema,
}

impl Columns {
    fn find(schema: &Schema) -> Result<Self, String> {
        let place =
            |wanted: &dyn Fn(&Field) -> bool| schema.fields().iter().position(|f| wanted(f));
        let image = place(&|field| is_image(field.data_type()))
            .ok_or("no image column; store images as bytes, or as a struct of bytes and path")?;
        let label = place(&|field| matches!(field.name().as_str(), "label" | "labels"))
            .ok_or("no column named label; rename the column that holds the class")?;
        let kind = schema.field(label).data_type();
        if !kind.is_integer() {
            return Err(format!(
                "column label has type {kind}; convert it to integers: \
                 dataset.class_encode_column(\"label\")"
            ));
        }
        let label_field = Field::new("label", kind.clone(), false);
        let image_field = Field::new("image", DataType::Struct(image_parts()), false);
        Ok(Self { image, label, schema: Schema::new(vec![image_field, label_field]) })
    }

    /// Image and label of `batch`, whose first row is row `before` of the file.
    fn rows(&self, batch: &RecordBatch, before: usize) -> Result<Vec<ArrayRef>, String> {
        // The projection keeps the file's order.
        let (image, label) = if self.image < self.label { (0, 1) } else { (1, 0) };
        let (image, label) = (batch.column(image), batch.column(label));
        let (bytes, path) = match image.as_any().downcast_ref::<StructArray>() {
            Some(parts) => (parts.column_by_name("bytes"), parts.column_by_name("path")),
            None => (Some(image), None),
        };
        let bytes = bytes.and_then(|it| it.as_any().downcast_ref::<BinaryArray>());
        let bytes = bytes.ok_or("the image column has no bytes")?;
        for (what, column) in [("image", bytes as &dyn Array), ("label", label.as_ref())] {
            if let Some(row) = (0..column.len()).find(|&row| column.is_null(row)) {
                return Err(format!("row {} has no {what}; remove it", before + row));
            }
        }
        let paths = path.and_then(|it| it.as_any().downcast_ref::<StringArray>()).cloned();
        let paths = paths.unwrap_or_else(|| StringArray::new_null(bytes.len()));
        let parts: Vec<ArrayRef> = vec![Arc::new(bytes.clone()), Arc::new(paths)];
        let image = StructArray::try_new(image_parts(), parts, None).map_err(|e| e.to_string())?;
        Ok(vec![Arc::new(image), Arc::clone(label)])
    }
}

fn is_image(kind: &DataType) -> bool {
    match kind {
        DataType::Binary => true,
        DataType::Struct(parts) => {
            parts.find("bytes").is_some_and(|(_, part)| *part.data_type() == DataType::Binary)
        }
        _ => false,
    }
}

fn image_parts() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use tempfile::TempDir;

    use super::*;
    use crate::data::dataset::{open::Dataset, span_reader::SpanReader};

    /// Images that no decoder accepts, by label.
    fn images(start: i64, num: i64) -> (BinaryArray, Int64Array) {
        let bytes: Vec<Vec<u8>> = (start..start + num).map(|i| vec![i as u8; 500]).collect();
        let bytes = BinaryArray::from_iter_values(bytes);
        (bytes, Int64Array::from_iter_values((start..start + num).map(|i| i % 2)))
    }

    fn structs(bytes: BinaryArray) -> ArrayRef {
        let names = (0..bytes.len()).map(|i| format!("{i}.JPEG"));
        let parts: Vec<ArrayRef> =
            vec![Arc::new(bytes), Arc::new(StringArray::from_iter_values(names))];
        Arc::new(StructArray::new(image_parts(), parts, None))
    }

    fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let names = r#"{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#;
        let names = KeyValue::new("huggingface".to_owned(), names.to_owned());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(vec![names]))
            .set_max_row_group_row_count(Some(30))
            .build();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn images_labels_and_names_survive_unpacking() {
        let root = TempDir::new().unwrap();
        let (source, spool) = (root.path().join("set"), root.path().join("spool"));
        let (first, labels) = images(0, 100);
        let columns = vec![("label", Arc::new(labels) as ArrayRef), ("image", structs(first))];
        write(&source.join("data/train-00000-of-00002.parquet"), columns);
        let (second, labels) = images(100, 7);
        let columns = vec![
            ("image", Arc::new(second) as ArrayRef),
            ("more", Arc::new(Int64Array::from_iter_values(0..7))),
            ("label", Arc::new(labels)),
        ];
        write(&source.join("data/train-00001-of-00002.parquet"), columns.clone());
        write(&source.join("data/validation-00000-of-00001.parquet"), columns.clone());
        write(&source.join("data/test-00000-of-00001.parquet"), columns);

        let data = Dataset::open(&unpacked(&source, &spool).unwrap()).unwrap();
        assert_eq!((data.train.len(), data.eval.len()), (107, 7));
        assert_eq!(data.train.classes(), ["cat", "dog"]);
        let (mut reader, mut bytes) = (SpanReader::default(), Vec::new());
        for i in 0..107 {
            reader.read(&data.train, i, &mut bytes).unwrap();
            assert_eq!((bytes.as_slice(), data.train.label(i)), (&[i as u8; 500][..], i % 2));
        }
        assert!(!spool.join("test-00000-of-00001.arrow").exists(), "test is not a used split");
    }

    #[test]
    fn a_data_set_of_other_files_is_read_in_place() {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("train")).unwrap();
        let spool = root.path().join("spool");
        assert_eq!(unpacked(root.path(), &spool).unwrap(), root.path());
        assert!(!spool.exists());
    }

    #[test]
    fn errors_name_file_and_row_of_unusable_parquet() {
        let root = TempDir::new().unwrap();
        let file = root.path().join("train.parquet");
        let failure = || {
            let error = unpacked(root.path(), &root.path().join("spool")).unwrap_err().to_string();
            assert!(error.contains("train.parquet"), "{error}");
            error
        };
        let (bytes, labels) = images(0, 70);
        let (bytes, labels): (ArrayRef, ArrayRef) = (Arc::new(bytes), Arc::new(labels));
        write(&file, vec![("label", Arc::clone(&labels))]);
        assert!(failure().contains("no image column"));
        write(&file, vec![("image", Arc::clone(&bytes))]);
        assert!(failure().contains("no column named label"));
        let words: ArrayRef = Arc::new(StringArray::from_iter_values(vec!["cat"; 70]));
        write(&file, vec![("image", Arc::clone(&bytes)), ("label", words)]);
        assert!(failure().contains("class_encode_column"));
        let holes: BinaryArray = (0..70).map(|i| (i != 66).then_some(b"x")).collect();
        write(&file, vec![("image", Arc::new(holes)), ("label", Arc::clone(&labels))]);
        assert!(failure().contains("row 66 has no image"));
        write(&file, vec![("image", bytes), ("label", labels)]);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 9]).unwrap();
        failure();
        let mut damaged = whole;
        damaged[40] ^= 0x55;
        fs::write(&file, damaged).unwrap();
        failure();
        assert!(!root.path().join("spool/train.arrow").exists(), "no partial file is left");
    }
    /// The Parquet crate panics on some of these files.
    #[test]
    fn any_damaged_byte_gives_an_error_or_is_harmless() {
        let root = TempDir::new().unwrap();
        let file = root.path().join("train.parquet");
        let (bytes, labels) = images(0, 4);
        write(&file, vec![("image", structs(bytes)), ("label", Arc::new(labels))]);
        let whole = fs::read(&file).unwrap();
        let mut answers = std::collections::HashSet::new();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            fs::write(&file, damaged).unwrap();
            let spool = root.path().join(at.to_string());
            let answer = unpacked(root.path(), &spool).err().map(|error| error.to_string());
            assert_eq!(spool.join("train.arrow").exists(), answer.is_none());
            answers.insert(answer);
        }
        let panics =
            answers.iter().flatten().filter(|it| it.ends_with("download it again")).count();
        assert!(answers.len() > 10 && panics > 0, "{answers:?}");
    }
}
