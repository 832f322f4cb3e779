//! What is trained from, or imported over, is a whole store of this version, and stays what it is.

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
        shard_writer::{ShardWriter, schema},
        *,
    },
    index::Index,
};

fn request(source: &Path, max_sides: &[usize]) -> Import {
    let (source, max_sides) = (source.to_owned(), max_sides.to_vec());
    Import { source, max_sides, on_bad: OnBad::Fail, seed: 3 }
}

fn run(import: &Import, out: &Path) -> Result<Vec<PathBuf>, StoreError> {
    crate::data::import::import(import, out, 2, &|_| Continue(()))
}

/// A store of a small set.
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

/// The error of all who read a set.
fn refused(folder: &Path) -> String {
    let error = Dataset::open(folder).unwrap_err().to_string();
    assert_eq!(Index::open(folder, Split::Train).unwrap_err().to_string(), error);
    assert_eq!(identity_of(folder).unwrap_err().to_string(), error);
    error
}

#[test]
fn a_store_of_a_later_version_is_read_by_nobody() {
    let (_source, out) = store(&[]);
    change(out.path(), |manifest| manifest["version"] = json!(2));
    let error = refused(out.path());
    assert!(error.contains("manifest.json has version 2") && error.contains("update"), "{error}");
    assert_eq!(verify(out.path(), &|_| ()).unwrap_err().to_string(), error);
    // Whatever else a later version may tell.
    fs::write(out.path().join("manifest.json"), r#"{"version": 3}"#).unwrap();
    assert!(refused(out.path()).contains("has version 3"));
}

#[test]
fn a_manifest_that_cannot_be_read_makes_no_plain_folder_of_a_store() {
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
fn the_manifest_of_another_program_is_none_of_ours() {
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
fn a_store_that_has_lost_its_manifest_is_no_other_division_for_it() {
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
fn an_import_of_shrunk_images_is_as_shrunk_as_they_are() {
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
fn shards_that_are_not_those_of_the_manifest_are_not_trained_from() {
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
    assert!(refused(out.path()).contains(&format!("{} bytes, not", whole.len() - 1)));
    fs::remove_file(&val).unwrap();
    let error = refused(out.path());
    assert!(error.starts_with("1 of 2 shards differ") && error.contains("import again"), "{error}");
}

#[test]
fn shards_of_one_name_for_two_classes_or_of_an_unknown_division_are_refused() {
    let out = TempDir::new().unwrap();
    let path = out.path().join("train-00000.arrow");
    let told = |schema: Schema| {
        let writer = ShardWriter::create(&path, &Arc::new(schema)).unwrap();
        writer.finish(&path).unwrap();
        refused_shard(out.path())
    };
    let classes = ["cat", "dog", "cat"].map(str::to_owned);
    let error = told(schema(&classes, StoreDivision::ClosedSafe));
    assert!(error.contains("two classes are called \"cat\""), "{error}");
    let mut later = schema(&classes[..2], StoreDivision::ClosedSafe);
    later.metadata.insert("mlperf_run.division".to_owned(), "elsewhere-only".to_owned());
    let error = told(later);
    assert!(error.contains("elsewhere-only") && error.contains("update mlperf-run"), "{error}");
}

fn refused_shard(folder: &Path) -> String {
    let error = Index::open(folder, Split::Train).unwrap_err().to_string();
    assert!(error.contains("train-00000.arrow"), "{error}");
    error
}

/// Breaks an import off when it has told of its progress `num_told` times.
fn broken_off(import: &Import, out: &Path, num_told: usize) {
    let told = AtomicUsize::new(0);
    let progress = |_| -> ControlFlow<()> {
        let is_last = told.fetch_add(1, Ordering::Relaxed) + 1 == num_told;
        if is_last { Break(()) } else { Continue(()) }
    };
    let error = crate::data::import::import(import, out, 2, &progress).unwrap_err();
    assert!(matches!(error, StoreError::Interrupted), "{error}");
    assert!(error.to_string().contains("the same command goes on"), "{error}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_import_that_is_broken_off_leaves_whole_shards_only_and_goes_on() {
    let source = data_set(3, 2);
    let import = request(source.path(), &[]);
    let whole = TempDir::new().unwrap();
    run(&import, whole.path()).unwrap();
    // In and after the first shard, in and after the second one.
    for (num_told, left) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
        let out = TempDir::new().unwrap();
        broken_off(&import, out.path(), num_told);
        let shards = ["train-00000.arrow", "unfinished.json", "val-00000.arrow"];
        let expected = shards.into_iter().filter(|name| match *name {
            "train-00000.arrow" => left > 0,
            "val-00000.arrow" => left > 1,
            _ => true,
        });
        assert_eq!(names(out.path()), expected.collect::<Vec<_>>(), "{num_told}");
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
    broken_off(&import, out.path(), 4);
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
fn an_import_that_finished_no_shard_is_begun_anew_with_other_options() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    broken_off(&request(source.path(), &[32, 36]), out.path(), 1);
    write(&out.path().join("32/train-00000.partial"), b"of an import that was killed");
    run(&request(source.path(), &[]), out.path()).unwrap();
    assert_eq!(names(out.path()), ["manifest.json", "train-00000.arrow", "val-00000.arrow"]);

    let out = TempDir::new().unwrap();
    broken_off(&request(source.path(), &[]), out.path(), 1);
    write(&out.path().join("notes.txt"), b"somebody's own");
    let error = run(&request(source.path(), &[32]), out.path()).unwrap_err();
    assert!(matches!(error, StoreError::Occupied(_)), "{error}");
}

#[test]
fn an_import_that_met_a_bad_image_goes_on_as_its_error_says() {
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

/// By a byte that no decoder looks at; a label may be damaged as well.
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
    // The density that an image is to be printed at.
    let place = bytes.windows(5).position(|it| it == b"JFIF\0").unwrap() + 9;
    bytes[place] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let error = run(&request(source.path(), &[]), &out.path().join("fail")).unwrap_err();
    assert!(error.to_string().contains("another checksum than was written"), "{error}");
    let lenient = Import { on_bad: OnBad::Skip, ..request(source.path(), &[]) };
    run(&lenient, &out.path().join("skip")).unwrap();
    let left = Manifest::read(&out.path().join("skip")).unwrap();
    assert_eq!((left.num_train + 1, left.skipped.len()), (whole.num_train, 1));
}

#[test]
fn a_store_is_no_part_of_its_source() {
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
fn a_size_that_is_named_twice_is_told_from_one_that_cannot_be() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    let told = |sides: &[usize]| run(&request(source.path(), sides), out.path()).unwrap_err();
    assert!(told(&[64, 64]).to_string().starts_with("--max-side names 64 px twice"));
    assert!(told(&[64, 8]).to_string().starts_with("--max-side 8 is out of range"));
}
