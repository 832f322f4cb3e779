//! Data sets as people have them: hidden files, nested folders, compressed shards, label files of other
//! systems, and what is no file.

use std::{os::unix::fs::symlink, path::Path, process::Command};

use tempfile::TempDir;

use super::containers::archive;
use crate::data::{
    config::Split,
    dataset::open::{self, Dataset},
    fixture::write,
    index::Index,
};

/// Archives `train.tar` and `val.tar` with empty images, or with the text that a name ends in after a
/// colon.
fn archives(train: &[&str], eval: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (split, names) in [("train", train), ("val", eval)] {
        let files: Vec<_> = names
            .iter()
            .map(|name| {
                let (name, text) = name.split_once(':').unwrap_or((name, ""));
                (name.to_owned(), text.as_bytes().to_vec())
            })
            .collect();
        archive(&root.path().join(format!("{split}.tar")), &files);
    }
    root
}

fn folder(paths: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for path in paths {
        write(&root.path().join(path), b"");
    }
    root
}

/// Class and name of each sample.
fn samples(index: &Index) -> Vec<String> {
    let class = |i| &index.classes()[index.label(i)];
    (0..index.len())
        .map(|i| format!("{} {}", class(i), String::from_utf8_lossy(index.name(i))))
        .collect()
}

fn train(root: &TempDir) -> Index {
    open::scan(root.path(), Split::Train, None).unwrap()
}

fn error(root: &Path) -> String {
    Dataset::open(root).unwrap_err().to_string()
}

#[test]
fn a_class_in_an_archive_is_the_first_folder_as_in_a_tree() {
    for prefix in ["", "./", "set/train/"] {
        let names = ["cat/front/0.jpg", "cat/side/1.jpg", "dog/front/2.jpg", "dog/3.jpg"];
        let names = names.map(|name| format!("{prefix}{name}"));
        let root = archives(&names.each_ref().map(String::as_str), &["cat/0.jpg", "dog/0.jpg"]);
        let index = train(&root);
        assert_eq!(index.classes(), ["cat", "dog"], "{prefix}");
        assert_eq!((0..4).map(|i| index.label(i)).collect::<Vec<_>>(), [0, 0, 1, 1]);
    }
    let images = ["t/n01/images/0.JPEG", "t/n02/images/1.JPEG"];
    assert_eq!(train(&archives(&images, &images)).classes(), ["n01", "n02"]);
}

#[test]
fn hidden_names_are_no_data_anywhere() {
    let hidden = ["train/a/._1.jpg", "train/a/.ipynb_checkpoints/1.jpg", "train/.DS_Store"];
    let data = ["train/a/1.jpg", "train/b/1.jpg", "train/__MACOSX/a/1.jpg"];
    let index = train(&folder(&[&hidden[..], &data].concat()));
    assert_eq!(samples(&index), ["a 1.jpg", "b 1.jpg"]);
    assert_eq!(index.num_hidden(), 4);

    let members = ["./._a", "a/0.jpg", "a/._0.jpg", "b/0.jpg", "__MACOSX/b/._0.jpg"];
    let root = archives(&members, &members);
    write(&root.path().join("._train.tar"), b"");
    let index = train(&root);
    assert_eq!(samples(&index), ["a a/0.jpg", "b b/0.jpg"]);
    assert_eq!(index.num_hidden(), 4);

    let shards = ["0.jpg", "0.cls:1", "._0.jpg", "._0.cls:?", "1.jpg", "1.cls:0"];
    assert_eq!(samples(&train(&archives(&shards, &shards))), ["1 0.jpg", "0 1.jpg"]);
}

#[test]
fn fields_of_webdataset_are_read_as_webdataset_reads_them() {
    let upper = ["0.JPG", "0.CLS:1", "1.JPEG", "1.CLS:0"];
    assert_eq!(samples(&train(&archives(&upper, &upper))), ["1 0.JPG", "0 1.JPEG"]);
    let two = ["0.png", "0.jpg", "0.seg.png", "0.cls:1", "1.seg.png", "1.png", "1.cls:0"];
    assert_eq!(samples(&train(&archives(&two, &two))), ["1 0.jpg", "0 1.png"]);
    let lacking = ["0.jpg", "0.cls:1", "1.seg.png", "1.cls:0"];
    let error = error(archives(&lacking, &lacking).path());
    assert!(error.contains("1 has no image (.jpg, .jpeg,") && error.contains(".tif, "), "{error}");
}

#[test]
fn label_files_of_other_systems_are_read() {
    let classes = ["tabby cat/0.jpg", "white shark/0.jpg"];
    for (text, images) in [
        ("\u{feff}v0.jpg\twhite shark\r\nv1.jpg\ttabby cat\r\n", ["v0.jpg", "v1.jpg"]),
        ("IMG 0.jpg,white shark\nIMG 1.jpg,tabby cat\n", ["IMG 0.jpg", "IMG 1.jpg"]),
        ("a.b.jpg\twhite shark\na.c.jpg\ttabby cat\n", ["a.b.jpg", "a.c.jpg"]),
        ("v0.jpg  1\nv1.jpg  0\n", ["v0.jpg", "v1.jpg"]),
    ] {
        let root = archives(&classes, &images);
        write(&root.path().join("val_labels.txt"), text.as_bytes());
        let eval = Dataset::open(root.path()).unwrap().eval;
        let expected = [format!("white shark {}", images[0]), format!("tabby cat {}", images[1])];
        assert_eq!(samples(&eval), expected, "{text:?}");
    }
}

#[test]
fn foreign_forms_are_named_as_what_they_are() {
    let both = |name: &str, content: &[u8]| {
        let root = tempfile::tempdir().unwrap();
        for split in ["train", "val"] {
            write(&root.path().join(split).join(name), content);
        }
        root
    };
    let gzip = [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0].repeat(100);
    for (root, said) in [
        (both("shard-000000.tar.gz", &gzip), "decompress it"),
        (both("shard-000000.tar", &gzip), "it is compressed (gzip)"),
        (both("train-00000-of-00001", &gzip), "decompress it with gunzip"),
        (both("shard.00000.mds", b""), "index.json"),
        (both("0.parquet", b""), "mlperf-run data import"),
    ] {
        let error = error(root.path());
        assert!(error.contains(said), "{said}: {error}");
    }
    let root = folder(&["data/train-00000-of-00001.parquet", "data/validation-00000.parquet"]);
    assert!(error(root.path()).contains("Parquet"));
}

#[test]
fn a_list_of_shards_outranks_their_folders() {
    let root = folder(&["train/0/shard.00000.mds", "val/0/shard.00000.mds"]);
    let listing = r#"{"version": 2, "shards": []}"#;
    write(&root.path().join("train/index.json"), listing.as_bytes());
    let error = open::scan(root.path(), Split::Train, None).unwrap_err().to_string();
    assert!(error.contains("no images in") && error.contains("index.json"), "{error}");
}

#[test]
fn what_is_no_file_is_refused_before_it_is_opened() {
    let root = folder(&["train/a/0.jpg", "train/b/0.jpg", "val/a/0.jpg", "val/b/0.jpg"]);
    symlink("..", root.path().join("train/a/up")).unwrap();
    assert!(error(root.path()).contains("leads back to a folder that it is in"));
    std::fs::remove_file(root.path().join("train/a/up")).unwrap();
    let pipe = root.path().join("train/b/1.jpg");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = error(root.path());
    assert!(error.contains("1.jpg is a pipe, not a file; remove it"), "{error}");
}
