//! Only complete stores of this version are trained from, and existing stores are not overwritten.

use std::{
    fs,
    ops::ControlFlow::{self, Break, Continue},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow_schema::Schema;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data::{
    config::Split,
    dataset::open::Dataset,
    error::DataError,
    fixture::{data_set, write},
    import::{
        Import, Manifest, OnBad, StoreDivision, StoreError, identity_of,
        shard_writer::{ShardWriter, schema},
        verify,
    },
    index::Index,
};

fn request(source: &Path, max_sides: &[usize]) -> Import {
    Import { max_sides: max_sides.to_vec(), seed: 3, ..Import::of(source) }
}

fn run(import: &Import, out: &Path) -> Result<Vec<PathBuf>, StoreError> {
    crate::data::import::import(import, out, 2, &|_| Continue(()))
}

/// A store of a small data set.
fn store(max_sides: &[usize]) -> (TempDir, TempDir) {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    run(&request(source.path(), max_sides), out.path()).unwrap();
    (source, out)
}

/// Changes the manifest in `folder`.
fn change(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("manifest.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(path, manifest.to_string()).unwrap();
}

/// The error that all readers of a store give.
fn refused(folder: &Path) -> String {
    let error = Dataset::open(folder).unwrap_err().to_string();
    assert_eq!(Index::open(folder, Split::Train).unwrap_err().to_string(), error);
    assert_eq!(identity_of(folder).unwrap_err().to_string(), error);
    error
}

#[test]
fn a_store_of_a_later_version_is_rejected_by_all_readers() {
    let (_source, out) = store(&[]);
    change(out.path(), |manifest| manifest["version"] = json!(2));
    let error = refused(out.path());
    assert!(error.contains("manifest.json has version 2") && error.contains("update"), "{error}");
    assert_eq!(verify(out.path(), &|_| ()).unwrap_err().to_string(), error);
    // A later version may contain anything else.
    fs::write(out.path().join("manifest.json"), r#"{"version": 3}"#).unwrap();
    assert!(refused(out.path()).contains("has version 3"));
}

#[test]
fn a_store_with_an_unreadable_manifest_is_not_read_as_a_plain_folder() {
    let (_source, out) = store(&[32]);
    let path = out.path().join("manifest.json");
    change(out.path(), |manifest| manifest["division"] = json!("elsewhere-only"));
    let error = refused(out.path());
    assert!(error.contains("manifest.json") && error.contains("elsewhere-only"), "{error}");
    for damaged in ["", "{", "{}", "\u{0}"] {
        fs::write(&path, damaged).unwrap();
        assert!(refused(out.path()).contains("import again"), "{damaged}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused(out.path());
}

#[test]
fn the_manifest_of_another_program_is_ignored() {
    let source = data_set(3, 2);
    for foreign in [r#"{"version": 9, "files": []}"#, "no JSON", "[]"] {
        write(&source.path().join("manifest.json"), foreign.as_bytes());
        assert_eq!(Dataset::open(source.path()).unwrap().division(), None);
        assert_eq!(identity_of(source.path()).unwrap(), None);
        let error = verify(source.path(), &|_| ()).unwrap_err();
        assert!(matches!(error, DataError::NoStore(_)), "{error}");
    }
}

#[test]
fn a_store_without_its_manifest_keeps_its_division() {
    for (max_sides, division) in
        [(&[][..], StoreDivision::ClosedSafe), (&[32][..], StoreDivision::OpenOnly)]
    {
        let (_source, out) = store(max_sides);
        fs::remove_file(out.path().join("manifest.json")).unwrap();
        assert_eq!(Dataset::open(out.path()).unwrap().division(), Some(division));
    }
    let (_source, out) = store(&[32]);
    change(out.path(), |manifest| manifest["division"] = json!("closed-safe"));
    assert_eq!(Dataset::open(out.path()).unwrap().division(), Some(StoreDivision::OpenOnly));
}

#[test]
fn an_import_of_shrunk_images_records_their_size() {
    let (_source, shrunk) = store(&[32]);
    for (max_sides, expected) in [(&[][..], 32), (&[36][..], 32)] {
        let out = TempDir::new().unwrap();
        run(&request(shrunk.path(), max_sides), out.path()).unwrap();
        let manifest = Manifest::read(out.path()).unwrap();
        let found = (manifest.division, manifest.max_side);
        assert_eq!(found, (StoreDivision::OpenOnly, Some(expected)));
    }
    fs::remove_file(shrunk.path().join("manifest.json")).unwrap();
    let out = TempDir::new().unwrap();
    run(&request(shrunk.path(), &[]), out.path()).unwrap();
    assert_eq!(Manifest::read(out.path()).unwrap().division, StoreDivision::OpenOnly);
}

#[test]
fn shards_that_differ_from_the_manifest_are_rejected() {
    let (_source, out) = store(&[]);
    let (train, val) = (out.path().join("train-00000.arrow"), out.path().join("val-00000.arrow"));
    let more = out.path().join("train-00001.arrow");
    fs::copy(&train, &more).unwrap();
    let error = refused(out.path());
    assert!(error.contains("train-00001.arrow (not in the manifest)"), "{error}");
    assert!(verify(out.path(), &|_| ()).unwrap_err().to_string().contains("not in the manifest"));
    fs::remove_file(&more).unwrap();
    let whole = fs::read(&val).unwrap();
    fs::write(&val, &whole[1..]).unwrap();
    assert!(refused(out.path()).contains(&format!("{} bytes instead of", whole.len() - 1)));
    fs::remove_file(&val).unwrap();
    let error = refused(out.path());
    assert!(error.starts_with("1 of 2 shards differ") && error.contains("import again"), "{error}");
}

#[test]
fn shards_with_duplicate_class_names_or_an_unknown_division_are_rejected() {
    let out = TempDir::new().unwrap();
    let path = out.path().join("train-00000.arrow");
    let error_of = |schema: Schema| {
        let writer = ShardWriter::create(&path, &Arc::new(schema)).unwrap();
        writer.finish(&path).unwrap();
        refused_shard(out.path())
    };
    let classes = ["cat", "dog", "cat"].map(str::to_owned);
    let error = error_of(schema(&classes, StoreDivision::ClosedSafe));
    assert!(error.contains("two classes are named \"cat\""), "{error}");
    let mut later = schema(&classes[..2], StoreDivision::ClosedSafe);
    later.metadata.insert("mlperf_run.division".to_owned(), "elsewhere-only".to_owned());
    let error = error_of(later);
    assert!(error.contains("elsewhere-only") && error.contains("update mlperf-run"), "{error}");
}

fn refused_shard(folder: &Path) -> String {
    let error = Index::open(folder, Split::Train).unwrap_err().to_string();
    assert!(error.contains("train-00000.arrow"), "{error}");
    error
}

/// Interrupts an import after `num_reports` progress reports.
fn interrupt(import: &Import, out: &Path, num_reports: usize) {
    let reports = AtomicUsize::new(0);
    let progress = |_| -> ControlFlow<()> {
        let is_last = reports.fetch_add(1, Ordering::Relaxed) + 1 == num_reports;
        if is_last { Break(()) } else { Continue(()) }
    };
    let error = crate::data::import::import(import, out, 2, &progress).unwrap_err();
    assert!(matches!(error, StoreError::Interrupted), "{error}");
    assert!(error.to_string().contains("run the same command again"), "{error}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_interrupted_import_leaves_only_complete_shards_and_resumes() {
    let source = data_set(3, 2);
    let import = request(source.path(), &[]);
    let whole = TempDir::new().unwrap();
    run(&import, whole.path()).unwrap();
    // During and after the first shard, during and after the second one.
    for (num_reports, left) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
        let out = TempDir::new().unwrap();
        interrupt(&import, out.path(), num_reports);
        let shards = ["train-00000.arrow", "unfinished.json", "val-00000.arrow"];
        let expected = shards.into_iter().filter(|name| match *name {
            "train-00000.arrow" => left > 0,
            "val-00000.arrow" => left > 1,
            _ => true,
        });
        assert_eq!(names(out.path()), expected.collect::<Vec<_>>(), "{num_reports}");
        assert!(refused(out.path()).contains("run the same `mlperf-run data import` again"));
        let error = verify(out.path(), &|_| ()).unwrap_err();
        assert!(matches!(error, DataError::Unfinished(_)), "{error}");
        run(&import, out.path()).unwrap();
        assert_eq!(identity_of(out.path()).unwrap(), identity_of(whole.path()).unwrap());
    }
}

#[test]
fn stores_of_an_unfinished_import_of_several_sizes_are_not_trained_from() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    let import = request(source.path(), &[32, 36]);
    interrupt(&import, out.path(), 4);
    for store in ["32", "36"].map(|side| out.path().join(side)) {
        assert_eq!(names(&store), ["train-00000.arrow", "val-00000.arrow"]);
        assert!(refused(&store).contains("is not finished"));
    }
    run(&import, out.path()).unwrap();
    let [small, large] = ["32", "36"].map(|side| out.path().join(side));
    assert!(Dataset::open(&small).is_ok() && Dataset::open(&large).is_ok());
    assert_ne!(identity_of(&small).unwrap(), identity_of(&large).unwrap());
}

#[test]
fn an_import_without_finished_shards_can_restart_with_other_options() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    interrupt(&request(source.path(), &[32, 36]), out.path(), 1);
    write(&out.path().join("32/train-00000.partial"), b"of an import that was killed");
    run(&request(source.path(), &[]), out.path()).unwrap();
    assert_eq!(names(out.path()), ["manifest.json", "train-00000.arrow", "val-00000.arrow"]);

    let out = TempDir::new().unwrap();
    interrupt(&request(source.path(), &[]), out.path(), 1);
    write(&out.path().join("notes.txt"), b"somebody's own");
    let error = run(&request(source.path(), &[32]), out.path()).unwrap_err();
    assert!(matches!(error, StoreError::Occupied(_)), "{error}");
}

#[test]
fn an_import_resumes_after_a_bad_image_as_its_error_says() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    write(&source.path().join("val/c/001.JPEG"), b"no image");
    let import = request(source.path(), &[]);
    let error = run(&import, out.path()).unwrap_err().to_string();
    assert!(error.contains("import with --on-bad skip"), "{error}");
    let shard = out.path().join("train-00000.arrow");
    let before = fs::metadata(&shard).unwrap().modified().unwrap();
    let lenient = Import { on_bad: OnBad::Skip, ..import };
    run(&lenient, out.path()).unwrap();
    assert_eq!(fs::metadata(&shard).unwrap().modified().unwrap(), before, "not written again");
    let fresh = TempDir::new().unwrap();
    run(&lenient, fresh.path()).unwrap();
    assert_eq!(identity_of(out.path()).unwrap(), identity_of(fresh.path()).unwrap());
}

/// The damaged byte is one that no decoder looks at; a label may be damaged as well.
#[test]
fn a_damaged_tfrecord_is_not_imported() {
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats/tfrecord");
    let source = TempDir::new().unwrap();
    for entry in fs::read_dir(set).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, source.path().join(path.file_name().unwrap())).unwrap();
    }
    let out = TempDir::new().unwrap();
    run(&request(source.path(), &[]), &out.path().join("whole")).unwrap();
    let whole = Manifest::read(&out.path().join("whole")).unwrap();
    let shard = source.path().join("train-00000-of-00002");
    let mut bytes = fs::read(&shard).unwrap();
    // The print density of an image.
    let place = bytes.windows(5).position(|it| it == b"JFIF\0").unwrap() + 9;
    bytes[place] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let error = run(&request(source.path(), &[]), &out.path().join("fail")).unwrap_err();
    assert!(error.to_string().contains("checksum of its TFRecord differs"), "{error}");
    let lenient = Import { on_bad: OnBad::Skip, ..request(source.path(), &[]) };
    run(&lenient, &out.path().join("skip")).unwrap();
    let left = Manifest::read(&out.path().join("skip")).unwrap();
    assert_eq!((left.num_train + 1, left.skipped.len()), (whole.num_train, 1));
    assert_eq!(left.division, StoreDivision::OpenOnly, "the rules want all images");
}

#[test]
fn two_imports_do_not_write_to_one_folder() {
    let (source, out) = (data_set(6, 1), TempDir::new().unwrap());
    let import = request(source.path(), &[]);
    let refused = AtomicUsize::new(0);
    crate::data::import::import(&import, out.path(), 1, &|_| {
        let second = run(&import, out.path()).unwrap_err();
        assert!(matches!(second, StoreError::Busy(_)), "{second}");
        refused.fetch_add(1, Ordering::Relaxed);
        Continue(())
    })
    .unwrap();
    assert!(refused.into_inner() > 0);
}

#[test]
fn a_store_inside_its_source_is_rejected() {
    let source = data_set(3, 2);
    let links = TempDir::new().unwrap();
    let link = links.path().join("link");
    std::os::unix::fs::symlink(source.path().join("train"), &link).unwrap();
    let within = [source.path().to_owned(), source.path().join("new/store"), link.join("store")];
    for out in within {
        let error = run(&request(source.path(), &[]), &out).unwrap_err();
        assert!(matches!(error, StoreError::WithinSource { .. }), "{error}");
    }
    assert_eq!(names(source.path()), ["train", "val"]);
    run(&request(source.path(), &[]), &links.path().join("store")).unwrap();
}

#[test]
fn duplicate_sizes_and_impossible_sizes_give_different_errors() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    let error_of = |sides: &[usize]| run(&request(source.path(), sides), out.path()).unwrap_err();
    assert!(error_of(&[64, 64]).to_string().starts_with("--max-side has 64 px twice"));
    assert!(error_of(&[64, 8]).to_string().starts_with("--max-side 8 is out of range"));
}
