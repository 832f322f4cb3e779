//! Data sets written by other libraries (`scripts/fixtures/formats`) give the samples of the folder
//! that they were written from, and damaged ones are read within their bounds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tempfile::TempDir;

use crate::data::{
    config::Split,
    dataset::{
        open::{self, Dataset},
        span_reader::SpanReader,
    },
    error::DataError,
    fixture::damage,
    image::decode::Decoder,
    index::{Index, PIXELS},
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats")
}

fn open(root: &Path) -> Result<Dataset, DataError> {
    // Bypass the cache, which would return the index of an earlier scan.
    let train = open::scan(root, Split::Train, None)?;
    let eval = open::scan(root, Split::Eval, Some(&train))?;
    Dataset::of(train, eval)
}

/// Label and bytes of each sample, sorted.
fn samples(index: &Index) -> Vec<(usize, Vec<u8>)> {
    let mut reader = SpanReader::default();
    let mut all: Vec<_> = (0..index.len())
        .map(|i| {
            let mut bytes = Vec::new();
            reader.read(index, i, &mut bytes).unwrap();
            (index.label(i), bytes)
        })
        .collect();
    all.sort_unstable();
    all
}

/// A modifiable copy of a fixture.
fn copy(name: &str) -> TempDir {
    let out = TempDir::new().unwrap();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        fs::create_dir_all(out.path().join(&below)).unwrap();
        for entry in fs::read_dir(fixtures().join(name).join(&below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(path);
            } else {
                fs::copy(entry.path(), out.path().join(path)).unwrap();
            }
        }
    }
    out
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn error(root: &Path) -> String {
    open(root).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn formats_that_keep_whole_files_contain_the_folders_files() {
    let folder = open(&fixtures().join("folder")).unwrap();
    let names = ["n01440764", "n02102040"];
    for (format, classes) in
        [("tfrecord", names), ("tfds", ["0", "1"]), ("mds", ["0", "1"]), ("mds_bytes", ["0", "1"])]
    {
        let found = open(&fixtures().join(format)).unwrap();
        assert_eq!(found.train.classes(), classes, "{format}");
        assert_eq!(samples(&found.train), samples(&folder.train), "{format}");
        assert_eq!(samples(&found.eval), samples(&folder.eval), "{format}");
    }
    let tfrecord = open(&fixtures().join("tfrecord")).unwrap().train;
    let path = fixtures().join("tfrecord/train-00000-of-00002/n01440764_0.JPEG");
    assert_eq!(tfrecord.path(0), path);
    let size = tfrecord.size(0).unwrap();
    assert_eq!((size.width, size.height), (32, 28));
}

#[test]
fn recordio_contains_the_files_and_a_record_split_at_its_magic_number() {
    let (folder, found) =
        (open(&fixtures().join("folder")).unwrap(), open(&fixtures().join("recordio")).unwrap());
    assert_eq!(samples(&found.eval), samples(&folder.eval));
    let (found, mut expected) = (samples(&found.train), samples(&folder.train));
    // The writer of the fixture put a comment into the first image.
    let magic = 0xced7_230a_u32.to_le_bytes();
    let comment = [b"\xff\xfe\x00\x10xx".as_slice(), &magic.repeat(3)].concat();
    let first = fs::read(fixtures().join("folder/train/n01440764/n01440764_0.JPEG")).unwrap();
    let place = expected.iter().position(|(_, bytes)| *bytes == first).unwrap();
    expected[place].1.splice(2..2, comment);
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn an_ffcv_file_has_images_with_the_sizes_and_labels_of_the_folder() {
    let folder = open(&fixtures().join("folder")).unwrap().train;
    let mut decoder = Decoder::new();
    let (mut spans, mut bytes) = (SpanReader::default(), Vec::new());
    for (format, num_raw) in [("beton", 0), ("beton_mixed", 5)] {
        let scanned = open::scan(&fixtures().join(format), Split::Train, None).unwrap();
        let is_raw = |i: usize| scanned.columns.flags[i] & PIXELS != 0;
        assert_eq!((0..scanned.len()).filter(|&i| is_raw(i)).count(), num_raw, "{format}");
        // FFCV decodes the images and re-encodes those it does not store raw, in the order of the
        // folder.
        for i in 0..folder.len() {
            let mut image = |index: &Index| {
                spans.read(index, i, &mut bytes).unwrap();
                let image = decoder.decode(&bytes).unwrap();
                (image.size(), image.pixels.to_vec())
            };
            let ((size, pixels), (expected_size, expected)) = (image(&scanned), image(&folder));
            assert_eq!((size, scanned.size(i)), (expected_size, Some(size)));
            assert_eq!(scanned.label(i), folder.label(i));
            let differences = pixels.iter().zip(&expected).map(|(a, b)| u64::from(a.abs_diff(*b)));
            let bound = if is_raw(i) { 0 } else { 6 * pixels.len() as u64 };
            assert!(
                differences.sum::<u64>() <= bound,
                "sample {i} of {format} has different pixels"
            );
        }
    }
}

/// Of MDS's image encodings, two keep whole files.
#[test]
fn a_column_of_pngs_is_an_image_column() {
    let root = copy("mds");
    let expected = open(root.path()).unwrap().eval.len();
    change(&root.path().join("val/index.json"), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap().replace("\"jpeg\"", "\"png\"");
        *bytes = text.into_bytes();
    });
    assert_eq!(open(root.path()).unwrap().eval.len(), expected);
}

#[test]
fn unusable_files_give_a_reason_and_a_fix() {
    let root = copy("mds");
    fs::remove_file(root.path().join("train/shard.00000.mds")).unwrap();
    assert!(error(root.path()).contains("compression=None"));
    let root = copy("mds");
    change(&root.path().join("val/index.json"), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap().replace("\"jpeg\"", "\"pil\"");
        *bytes = text.into_bytes();
    });
    assert!(error(root.path()).contains("write them with encoding jpeg"));
    let root = copy("mds");
    change(&root.path().join("val/index.json"), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("shard.00000.mds", "../../../etc/passwd").into_bytes();
    });
    assert!(error(root.path()).contains("is missing"));
    let root = copy("beton");
    fs::copy(root.path().join("train_32_0.50_90.beton"), root.path().join("train_2.ffcv")).unwrap();
    assert!(error(root.path()).contains("keep one"));
    let root = copy("recordio");
    change(&root.path().join("val.idx"), |bytes| bytes.extend(b"9\t9\n"));
    assert!(error(root.path()).contains("it has 2 records, but its .idx file lists 3"));
    let root = copy("tfrecord");
    change(&root.path().join("train-00001-of-00002"), |bytes| bytes[3] ^= 1);
    assert!(error(root.path()).contains("the record at byte 0 has a damaged length"));
    let root = copy("tfrecord");
    change(&root.path().join("train-00001-of-00002"), |bytes| bytes.truncate(bytes.len() - 1));
    assert!(error(root.path()).contains("truncated"));
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("train-00000-of-00294.parquet"), b"PAR1").unwrap();
    assert!(error(root.path()).contains("data import"));
}

#[test]
fn labels_of_tfrecord_count_from_the_first_class_of_training() {
    // Without names and with label 0 only in training, validation must count from 0 as well.
    let root = copy("tfrecord");
    let shards = ["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00002"];
    for shard in shards.iter().chain(&["validation-00001-of-00002"]) {
        change(&root.path().join(shard), |bytes| {
            replace(bytes, b"image/class/synset", b"image/class/nosets");
        });
    }
    let plain = open(root.path()).unwrap();
    assert_eq!((plain.train.classes(), plain.train.label(0)), (&["1".into(), "2".into()][..], 0));
    for shard in &shards[..2] {
        change(&root.path().join(shard), |bytes| {
            // An Int64List with one packed 1, in a feature, after its key.
            replace(bytes, b"image/class/label\x12\x05\x1a\x03\x0a\x01\x01", {
                b"image/class/label\x12\x05\x1a\x03\x0a\x01\x00"
            });
        });
    }
    let counted_from_0 = open(root.path()).unwrap();
    assert_eq!(counted_from_0.train.classes(), ["0", "1", "2"]);
    assert_eq!(counted_from_0.eval.label(0), 1);
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let places: Vec<_> =
        (0..bytes.len() - from.len()).filter(|&i| bytes[i..].starts_with(from)).collect();
    assert!(!places.is_empty() && from.len() == to.len());
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
}

const HOSTILE: [(&str, &str); 8] = [
    ("tfrecord", "train-00000-of-00002"),
    ("tfds", "set-train.tfrecord-00000-of-00001"),
    ("recordio", "train.rec"),
    ("mds", "train/shard.00000.mds"),
    ("mds", "train/index.json"),
    ("mds_bytes", "train/shard.00000.mds"),
    ("beton", "train_32_0.50_90.beton"),
    ("beton_mixed", "train_32_0.50_90.beton"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// A damaged file is rejected, or all its spans are within the file: nothing panics, nothing is
    /// read from elsewhere, and reading a sample may fail only for a split record.
    #[test]
    fn damaged_files_are_rejected_or_read_within_their_bounds(damage in damage()) {
        for (format, file) in HOSTILE {
            let root = copy(format);
            change(&root.path().join(file), |bytes| damage.apply(bytes));
            if let Ok(index) = open::scan(root.path(), Split::Train, None) {
                let (mut spans, mut bytes) = (SpanReader::default(), Vec::new());
                for i in 0..index.len() {
                    let read = spans.read(&index, i, &mut bytes);
                    prop_assert!(read.is_ok() || format == "recordio", "{} {}", format, i);
                    prop_assert!(index.label(i) < index.num_classes());
                }
            }
        }
    }
}
