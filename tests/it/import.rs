//! `data import` of image folders as people have them, as one types it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)
}

/// Exit code, standard output and standard error.
fn mlperf_run(root: &TempDir, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
    let command = command.args(words).current_dir(root).env("MLPERF_RUN_CACHE", root.path());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn good(root: &TempDir, words: &[&str]) -> String {
    let (code, out, err) = mlperf_run(root, words);
    assert_eq!(code, 0, "{words:?}: {err}");
    format!("{out}{err}")
}

/// The message of a command that the data set makes impossible.
fn refused(root: &TempDir, words: &[&str]) -> String {
    let (code, _, err) = mlperf_run(root, words);
    assert_eq!(code, 3, "{words:?}: {err}");
    err
}

/// A folder with copies of fixtures.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (path, name) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(fixture(name), path).unwrap();
    }
    root
}

const PLAIN: [(&str, &str); 4] = [
    ("set/train/cat/0.jpg", "exif-1.jpg"),
    ("set/train/dog/0.jpg", "exif-1.jpg"),
    ("set/val/cat/0.jpg", "exif-1.jpg"),
    ("set/val/dog/0.jpg", "exif-1.jpg"),
];

fn manifest(root: &TempDir, store: &str) -> Value {
    let text = fs::read_to_string(root.path().join(store).join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Names in the shards of a split, sorted.
fn names(root: &TempDir, store: &str, split: &str) -> Vec<String> {
    let shard = fs::read(root.path().join(store).join(format!("{split}-00000.arrow"))).unwrap();
    let text = String::from_utf8_lossy(&shard);
    let found = text.match_indices("class-").map(|(at, _)| text[at..at + 12].to_owned());
    let mut found: Vec<_> = found.filter(|name| name.contains(".jpg")).collect();
    found.sort();
    found
}

#[test]
fn formats_that_training_does_not_read_are_named_and_imported() {
    let others = ["lossy.webp", "palette.gif", "rgb16.tif", "rgba.bmp"];
    let paths = others.map(|name| format!("set/train/cat/{name}"));
    let more = paths.iter().zip(others).map(|(path, name)| (path.as_str(), name));
    let root = folder(&PLAIN.into_iter().chain(more).collect::<Vec<_>>());
    let cure = "mlperf-run data import DATA --out STORE";
    for words in [
        ["data", "inspect", "set"].as_slice(),
        &["plan", "--recipe", "demo/baseline", "--data", "set"],
        &["--recipe", "demo/baseline", "--data", "set"],
    ] {
        let said = refused(&root, words);
        assert!(said.contains("4 of the images are no JPEGs or PNGs"), "{said}");
        assert!(said.contains("set/train/cat/lossy.webp") && said.contains(cure), "{said}");
    }
    let said = good(&root, &["data", "import", "set", "--out", "store"]);
    assert!(said.contains("open-only (4 converted to JPEG)"), "{said}");
    for (name, kind) in others.iter().zip(["a WebP", "a GIF", "a TIFF", "a BMP"]) {
        assert!(said.contains(&format!("cat/{name}: {kind}")), "{said}");
    }
    assert_eq!(manifest(&root, "store")["converted"].as_array().unwrap().len(), 4);
    let said = good(&root, &["data", "inspect", "store"]);
    assert!(said.contains("of 6 examined") && said.contains(" 0 bad"), "{said}");
    // The store has its source's file names, which must not be taken for formats.
    let plan = ["plan", "--recipe", "demo/baseline", "--set", "train.batch_size=2"];
    good(&root, &[&plan[..], &["--data", "store"]].concat());
}

#[test]
fn formats_that_nothing_reads_are_refused_by_name() {
    let root = folder(&[&PLAIN[..], &[("set/val/dog/IMG_1.HEIC", "refused/photo.avif")]].concat());
    let said = refused(&root, &["data", "inspect", "set"]);
    assert!(said.contains("IMG_1.HEIC; convert them to JPEG or PNG"), "{said}");
    let said = refused(&root, &["data", "import", "set", "--out", "store"]);
    assert!(said.contains("IMG_1.HEIC: not a JPEG or PNG but an AVIF (convert it"), "{said}");
    let palette = ("set/train/dog/1.tif", "refused/palette.tif");
    let root = folder(&[&PLAIN[..], &[palette]].concat());
    let said = refused(&root, &["data", "import", "set", "--out", "store"]);
    assert!(said.contains("dog/1.tif: a TIFF of a kind that is not read"), "{said}");
    let said = good(&root, &["data", "import", "set", "--out", "store", "--on-bad", "skip"]);
    assert!(said.contains("1 left out"), "{said}");
}

#[test]
fn hidden_names_are_counted_and_never_end_an_import() {
    let junk = [
        ("set/train/cat/._0.jpg", "rgb.bmp"),
        ("set/train/.ipynb_checkpoints/0.jpg", "rgb.bmp"),
        ("set/val/__MACOSX/0.jpg", "rgb.bmp"),
        ("set/val/dog/Thumbs.db", "rgb.bmp"),
        ("set/val/dog/@eaDir/0.jpg", "rgb.bmp"),
    ];
    let root = folder(&[&PLAIN[..], &junk].concat());
    let said = good(&root, &["data", "import", "set", "--out", "store"]);
    assert_eq!(said.matches("left out: 5 hidden names").count(), 1, "{said}");
    let said = good(&root, &["data", "inspect", "set"]);
    assert!(said.contains("left out: 2 hidden names") && said.contains("left out: 3"), "{said}");
}

#[test]
fn an_orientation_is_reported_and_applied_on_request() {
    let turned = [("set/train/cat/1.jpg", "exif-6.jpg"), ("set/val/dog/1.jpg", "exif-6-odd.jpg")];
    let root = folder(&[&PLAIN[..], &turned].concat());
    let said = good(&root, &["data", "import", "set", "--out", "kept"]);
    assert!(said.contains("closed-safe (no image was changed)"), "{said}");
    assert!(said.contains("2 images with an Exif orientation, which was not applied"), "{said}");
    assert!(said.contains("--exif apply turns them"), "{said}");
    let said = good(&root, &["data", "import", "set", "--out", "turned", "--exif", "apply"]);
    assert!(said.contains("open-only (images turned by their Exif orientation"), "{said}");
    assert!(said.contains("1.jpg: turned; its size does not allow that without loss"), "{said}");
    let manifest = manifest(&root, "turned");
    assert_eq!(
        (&manifest["exif"], &manifest["num_with_orientation"]),
        (&"apply".into(), &2.into())
    );
    let said = good(&root, &["data", "inspect", "turned"]);
    assert!(said.starts_with("store: open-only (images turned") && !said.contains("not applied"));
    let again = ["data", "import", "kept", "--out", "x", "--exif", "apply"];
    let said = refused(&root, &again);
    assert!(said.contains("is a store, and stores have no Exif data; import its source"), "{said}");
    let wrong = mlperf_run(&root, &["data", "import", "set", "--out", "x", "--exif", "yes"]);
    assert_eq!(wrong.0, 2);
}

#[test]
fn class_folders_are_split_on_request() {
    let files: Vec<_> = (0..2)
        .flat_map(|class| {
            (0..[10, 3][class]).map(move |i| format!("set/c{class}/class-{class}{i}.jpg"))
        })
        .collect();
    let files: Vec<_> = files.iter().map(|path| (path.as_str(), "exif-1.jpg")).collect();
    let root = folder(&files);
    let said = refused(&root, &["data", "inspect", "set"]);
    assert!(said.contains("set/train") && said.contains("--val-share 0.1"), "{said}");

    let import = |out: &str, more: &[&str]| {
        let words = ["data", "import", "set", "--out", out, "--val-share", "0.2"];
        good(&root, &[&words[..], more].concat())
    };
    let said = import("store", &[]);
    assert!(said.contains("10 training and 3 validation images of 2 classes"), "{said}");
    assert!(said.contains("open-only (20.0 % of each class split off for validation)"), "{said}");
    assert_eq!(manifest(&root, "store")["val_share"], 0.2);
    let eval = names(&root, "store", "val");
    let of_class = |class: &str| eval.iter().filter(|name| name.starts_with(class)).count();
    assert_eq!((of_class("class-0"), of_class("class-1")), (2, 1), "{eval:?}");
    assert_eq!(names(&root, "store", "train").len(), 10);
    import("again", &["--seed", "1"]);
    assert_ne!(names(&root, "again", "val"), eval);

    let split = ["data", "import", "set", "--out", "x", "--val-share"];
    for share in ["0", "1", "-0.1", "nan"] {
        let option = format!("--val-share={share}");
        let said = refused(&root, &[&split[..5], &[&option]].concat());
        assert!(said.contains("give a number between 0 and 1"), "{said}");
    }
    fs::create_dir(root.path().join("set/c2")).unwrap();
    fs::copy(fixture("exif-1.jpg"), root.path().join("set/c2/0.jpg")).unwrap();
    let said = refused(&root, &[&split[..], &["0.2"]].concat());
    assert!(said.contains("at least 2 images of each class, but there are fewer of c2;"), "{said}");
    let root = folder(&PLAIN);
    let said = refused(&root, &[&split[..], &["0.2"]].concat());
    assert!(said.contains("validation images already; leave out --val-share"), "{said}");
}

#[test]
fn classes_of_one_split_only_are_named_both_ways() {
    let odd = [("set/train/fox/0.jpg", "exif-1.jpg"), ("set/val/hen/0.jpg", "exif-1.jpg")];
    let root = folder(&[&PLAIN[..], &odd].concat());
    let said = refused(&root, &["data", "inspect", "set"]);
    assert!(said.contains("set/train has fox, and only "), "{said}");
    assert!(said.contains("set/val has hen; make the class folders"), "{said}");
}
