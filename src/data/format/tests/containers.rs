//! All containers give the samples of the folder that they were made from, and damaged ones give a
//! clear error.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    sync::OnceLock,
    time::SystemTime,
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
    fixture::{damage, data_set, write},
    index::{Entry, FileStamp, Index, cache},
};

/// An archive of files, as written by `tar`.
pub(super) fn archive(path: &Path, files: &[(String, Vec<u8>)]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut builder = tar::Builder::new(File::create(path).unwrap());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.finish().unwrap();
}

/// Label, class name, file name and bytes of each sample.
fn samples(index: &Index) -> Vec<(usize, String, String, Vec<u8>)> {
    let mut reader = SpanReader::default();
    let sample = |i| {
        let mut bytes = Vec::new();
        reader.read(index, i, &mut bytes).unwrap();
        let name = index.path(i).file_name().unwrap().to_string_lossy().into_owned();
        let label = index.label(i);
        (label, index.classes()[label].clone(), name, bytes)
    };
    (0..index.len()).map(sample).collect()
}

/// The folder's data set, and an empty folder for another container of it.
fn original() -> (TempDir, Dataset, TempDir) {
    let folder = data_set(3, 2);
    let dataset = Dataset::open(folder.path()).unwrap();
    (folder, dataset, tempfile::tempdir().unwrap())
}

/// Writes archives with a `.cls` file for each image.
fn write_webdataset(root: &Path, index: &Index, split: &str) {
    for (shard, half) in samples(index).chunks(2).enumerate() {
        let pair = |(label, _, name, bytes): &(usize, String, String, Vec<u8>)| {
            // Keys may contain a folder with a dot, some extensions are long, and other files are
            // ignored.
            let key = format!("v1.0/{shard}-{label}-{}", name.split('.').next().unwrap());
            let class = (format!("{key}.cls"), format!("{label}\n").into_bytes());
            [
                (format!("{key}.jpg"), bytes.clone()),
                class,
                (format!("{key}.json"), vec![b'{', b'}']),
            ]
        };
        let files: Vec<_> = half.iter().flat_map(pair).collect();
        archive(&root.join(split).join(format!("{shard:04}.tar")), &files);
    }
}

#[test]
fn webdataset_shards_hold_the_samples_of_the_folder() {
    let (_folder, dataset, out) = original();
    write_webdataset(out.path(), &dataset.train, "train");
    write_webdataset(out.path(), &dataset.eval, "val");
    let found = Dataset::open(out.path()).unwrap();
    assert_eq!(found.train.classes(), ["0", "1", "2"]);
    for (index, expected) in [(&found.train, &dataset.train), (&found.eval, &dataset.eval)] {
        let plain = |(label, _, _, bytes)| (label, bytes);
        let (found, expected) = (samples(index), samples(expected));
        let found: Vec<_> = found.into_iter().map(plain).collect();
        assert_eq!(found, expected.into_iter().map(plain).collect::<Vec<_>>());
    }
}

/// Writes `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar` of a data set.
fn write_ilsvrc(root: &Path, dataset: &Dataset) {
    let mut outer = Vec::new();
    for class in dataset.train.classes() {
        let members = samples(&dataset.train).into_iter().filter(|sample| sample.1 == *class);
        let members: Vec<_> = members.map(|(_, _, name, bytes)| (name, bytes)).collect();
        let inner = root.join("inner.tar");
        archive(&inner, &members);
        outer.push((format!("{class}.tar"), fs::read(&inner).unwrap()));
        fs::remove_file(inner).unwrap();
    }
    archive(&root.join("ILSVRC2012_img_train.tar"), &outer);
    archive(&root.join("ILSVRC2012_img_train_t3.tar"), &[("n02085620.tar".into(), vec![0; 1024])]);
    let images = samples(&dataset.eval).into_iter().enumerate();
    let images: Vec<_> = images.map(|(i, sample)| (val_name(i), sample.3)).collect();
    archive(&root.join("ILSVRC2012_img_val.tar"), &images);
}

fn val_name(i: usize) -> String {
    format!("ILSVRC2012_val_{:08}.JPEG", i + 1)
}

#[test]
fn archives_of_ilsvrc_hold_the_samples_of_the_folder() {
    let (_folder, dataset, out) = original();
    write_ilsvrc(out.path(), &dataset);
    let error = Dataset::open(out.path()).unwrap_err();
    assert!(matches!(error, DataError::NoLabels(_)), "{error}");
    let eval = samples(&dataset.eval);
    let lines = |line: &dyn Fn(usize, usize, &str) -> String| -> String {
        eval.iter().enumerate().map(|(i, sample)| line(i, sample.0, &sample.1)).collect()
    };
    let forms = [
        ("val.txt", lines(&|i, label, _| format!("{} {label}\n", val_name(i)))),
        ("val_labels.txt", lines(&|_, _, class| format!("{class}\n"))),
        (
            "LOC_val_solution.csv",
            "ImageId,PredictionString\n".to_owned()
                + &lines(&|i, _, class| {
                    format!("{},{class} 1 2 3 4\n", val_name(i).trim_end_matches(".JPEG"))
                }),
        ),
    ];
    for (name, text) in forms {
        fs::write(out.path().join(name), text).unwrap();
        let found = Dataset::open(out.path()).unwrap();
        assert_eq!(samples(&found.train), samples(&dataset.train), "{name}");
        let plain = |(label, class, _, bytes)| (label, class, bytes);
        let labelled: Vec<_> = samples(&found.eval).into_iter().map(plain).collect();
        assert_eq!(labelled, eval.iter().cloned().map(plain).collect::<Vec<_>>(), "{name}");
        fs::remove_file(out.path().join(name)).unwrap();
    }
}

#[test]
fn labels_that_do_not_match_are_rejected() {
    let (_folder, dataset, out) = original();
    write_ilsvrc(out.path(), &dataset);
    let cases = [
        ("3\n", "line 1: 3 is not one of the 3 classes"),
        ("a\na\n", "2 labels for 6 images"),
        ("ILSVRC2012_val_00000001.JPEG b\n", "there is no label for ILSVRC2012_val_00000002.JPEG"),
        ("\n\nILSVRC2012_val_00000001.JPEG dog\n", "line 3: dog is not one"),
        ("other_1.JPEG a\nother_2.JPEG b\n", "there is no label for ILSVRC2012_val_00000001.JPEG"),
        ("x_1.JPEG a\nx_2.JPEG b\nx_1.JPEG c\n", "line 3: x_1.JPEG has class c here and a"),
        ("x_1.JPEG a\nb\n", "line 2: some lines name an image"),
        ("b\nx_1.JPEG a\n", "line 2: some lines name an image"),
    ];
    for (text, reason) in cases {
        fs::write(out.path().join("val_labels.txt"), text).unwrap();
        let error = Dataset::open(out.path()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_duplicate_class_in_an_archive_is_rejected() {
    let (_folder, dataset, out) = original();
    write_ilsvrc(out.path(), &dataset);
    let path = out.path().join("ILSVRC2012_img_train.tar");
    let mut files = Vec::new();
    for entry in tar::Archive::new(File::open(&path).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (name, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut content).unwrap();
        files.push((name, content));
    }
    for again in [files[0].0.clone(), format!("more/{}", files[0].0)] {
        let mut files = files.clone();
        files.push((again.clone(), files[0].1.clone()));
        archive(&path, &files);
        let error = Index::open(out.path(), Split::Train).unwrap_err().to_string();
        assert!(error.contains(&format!("{again} occurs twice")), "{error}");
    }
}

#[test]
fn folders_in_an_archive_are_classes() {
    let (_folder, dataset, out) = original();
    for (split, index) in [("train", &dataset.train), ("validation", &dataset.eval)] {
        let files: Vec<_> = samples(index)
            .into_iter()
            .map(|(_, class, name, bytes)| (format!("./{split}/{class}/{name}"), bytes))
            .collect();
        archive(&out.path().join(format!("set-{split}.tar")), &files);
    }
    let found = Dataset::open(out.path()).unwrap();
    assert_eq!(samples(&found.train), samples(&dataset.train));
    assert_eq!(samples(&found.eval), samples(&dataset.eval));
}

#[test]
fn errors_name_damaged_archives_and_nothing_is_read_past_their_end() {
    let (_folder, dataset, out) = original();
    write_webdataset(out.path(), &dataset.train, "train");
    let path = out.path().join("train/0001.tar");
    let whole = fs::read(&path).unwrap();
    let error = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        Index::open(out.path(), Split::Train).map(|_| ()).unwrap_err().to_string()
    };
    let cut = error(&whole[..whole.len() / 3]);
    assert!(cut.contains("0001.tar") && cut.contains("truncated"), "{cut}");
    // The first member claims 8 GiB less one byte, with a valid checksum.
    let mut hostile = whole.clone();
    let mut header = tar::Header::from_byte_slice(&whole[..512]).clone();
    header.set_size((8 << 30) - 1);
    header.set_cksum();
    hostile[..512].copy_from_slice(header.as_bytes());
    assert!(error(&hostile).contains("truncated"));
    let number = whole.windows(9).position(|text| text.ends_with(b".cls\0")).unwrap();
    let mut wrong = whole.clone();
    let content = (number / 512 + 1) * 512;
    wrong[content..content + 2].copy_from_slice(b"-1");
    assert!(error(&wrong).contains("instead of a class number"));
    assert!(error(b"").contains("0001.tar: the archive is truncated"));
}

/// A `WebDataset` shard and a nested archive.
fn archives() -> &'static [(&'static str, Vec<u8>)] {
    static ARCHIVES: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    ARCHIVES.get_or_init(|| {
        let (_folder, dataset, out) = original();
        write_webdataset(out.path(), &dataset.train, "train");
        write_ilsvrc(out.path(), &dataset);
        let read = |name: &str| fs::read(out.path().join(name)).unwrap();
        vec![("0.tar", read("train/0000.tar")), ("1.tar", read("ILSVRC2012_img_train.tar"))]
    })
}

proptest! {
    #[test]
    fn any_damaged_archive_is_rejected_or_read_within_its_bounds(damage in damage()) {
        for (name, bytes) in archives() {
            let (root, mut bytes) = (tempfile::tempdir().unwrap(), bytes.clone());
            damage.apply(&mut bytes);
            write(&root.path().join("train").join(name), &bytes);
            if let Ok(index) = open::scan(root.path(), Split::Train, None) {
                prop_assert_eq!(samples(&index).len(), index.len());
            }
        }
    }
}

/// Makes a file or folder look unchanged for a minute.
fn age(path: &Path) {
    let then = SystemTime::now() - std::time::Duration::from_mins(1);
    File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn an_index_is_cached_until_something_changes() {
    let (_folder, dataset, out) = original();
    write_webdataset(out.path(), &dataset.train, "train");
    let (file, shard) = (out.path().join("cache/index.bin"), out.path().join("train/0000.tar"));
    let scan = || open::scan(out.path(), Split::Train, None).unwrap();
    cache::store(&file, &scan()).unwrap();
    assert!(!file.exists(), "recently written files may still change");
    for entry in fs::read_dir(out.path().join("train")).unwrap() {
        age(&entry.unwrap().path());
    }
    age(&out.path().join("train"));
    cache::store(&file, &scan()).unwrap();
    let kept = cache::load(&file).expect("nothing has changed");
    assert_eq!(kept.columns, scan().columns);
    assert_eq!((kept.classes(), samples(&kept)), (scan().classes(), samples(&scan())));
    let written = fs::read(&shard).unwrap();
    fs::write(&shard, written).unwrap();
    assert!(cache::load(&file).is_none(), "a shard was rewritten");
    age(&shard);
    cache::store(&file, &scan()).unwrap();
    write(&out.path().join("train/0009.tar"), b"");
    assert!(cache::load(&file).is_none(), "a shard was added");
}

#[test]
fn a_damaged_index_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("shard.tar");
    fs::write(&place, [0; 100]).unwrap();
    age(&place);
    let make = |offset, label| {
        let mut index = Index::new(vec![place.clone()], vec![FileStamp::of(&place).unwrap()]);
        index.classes = vec!["a".into(), "b".into()];
        let (size, flags, length) = ([0; 2], 0, 40);
        index.push(&Entry { place: 0, offset, length, label, size, flags, name: b"x" });
        index
    };
    let file = folder.path().join("index.bin");
    let loads = |index: &Index| {
        cache::store(&file, index).unwrap();
        cache::load(&file).is_some()
    };
    assert!(loads(&make(60, 1)));
    let bytes = fs::read(&file).unwrap();
    for len in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&file, &bytes[..len]).unwrap();
        assert!(cache::load(&file).is_none());
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert!(cache::load(&file).is_none(), "byte {at} was changed");
    }
    let mut elsewhere = make(60, 1);
    elsewhere.places[0].0 = "shard.tar".into();
    for index in [make(61, 1), make(u64::MAX, 1), make(60, 2), elsewhere] {
        assert!(!loads(&index));
    }
}
