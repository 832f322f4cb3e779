//! The verbs of data sets as one types them, on sets that misbehave.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Far above what anything here takes; reached only by a bug.
const LIMIT: Duration = Duration::from_secs(120);

fn data(words: &[&str], cache: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
    command.arg("data").args(words).env("MLPERF_RUN_CACHE", cache).output().unwrap()
}

/// A small set in a folder of its own.
fn synth(root: &TempDir) -> String {
    let set = root.path().join("set").display().to_string();
    let counts = ["--num-classes", "2", "--num-train", "24", "--num-eval", "4"];
    let words = [&["synth", "--out", &set], counts.as_slice()].concat();
    let output = data(&words, root.path());
    assert!(output.status.success(), "{output:?}");
    set
}

#[test]
fn a_bench_of_a_recipe_measures_its_crops_and_says_what_they_feed() {
    let root = TempDir::new().unwrap();
    let set = synth(&root);
    let words = ["bench", "data", "--data", &set, "--num", "8", "--recipe", "demo/optimized"];
    let bench = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
        command.args(words).args(more).env("MLPERF_RUN_CACHE", root.path()).output().unwrap()
    };
    let output = bench(&["--set", "data.train.crop_size=64"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("demo/optimized: ") && said.contains("accelerators, fewest"), "{said}");
    let measured = String::from_utf8(output.stdout).unwrap();
    assert!(measured.lines().skip(2).any(|line| line.starts_with("   64  ")), "{measured}");
    assert_eq!(bench(&["--dct-scale"]).status.code(), Some(2), "the recipe says so or it does not");
    let output = bench(&["--throughput", "no/such/table.toml"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

/// A limit on the length of files stands for a disk that is full.
#[test]
fn an_import_that_runs_out_of_room_leaves_no_store_and_goes_on_once_there_is_some() {
    let root = TempDir::new().unwrap();
    let set = synth(&root);
    let out = root.path().join("store").display().to_string();
    // The signal would end the program before the write can fail, as it does on a full disk.
    let script = "trap '' XFSZ; ulimit -f 20; exec \"$0\" \"$@\"";
    let words = ["-c", script, env!("CARGO_BIN_EXE_mlperf-run"), "data", "import", &set];
    let mut limited = Command::new("sh");
    let limited = limited.args(words).args(["--out", &out]).env("MLPERF_RUN_CACHE", root.path());
    let output = limited.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("cannot write") && said.contains(&out), "{said}");
    assert!(said.contains("check the disk"), "{said}");
    assert!(!data(&["verify", &out], root.path()).status.success(), "half a store passed for one");

    assert!(data(&["import", &set, "--out", &out], root.path()).status.success());
    let verified = data(&["verify", &out], root.path());
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn an_import_that_is_interrupted_ends_with_7_and_goes_on() {
    for asked in [Signal::INT, Signal::TERM] {
        let root = TempDir::new().unwrap();
        let [set, store] = ["set", "store"].map(|it| root.path().join(it).display().to_string());
        // Enough images that the import takes a while.
        let counts = ["--num-train", "3000", "--num-eval", "8", "--num-classes", "4"];
        let synth = [&["synth", "--out", &set, "--size", "256"][..], &counts].concat();
        assert!(data(&synth, root.path()).status.success());
        let mut import = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
        let import = import.args(["data", "import", &set, "--out", &store]);
        let import = import.env("MLPERF_RUN_CACHE", root.path()).stderr(Stdio::piped());
        let import = import.stdout(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        // Once a shard has been begun, the import listens to signals.
        let begun = || {
            let files = fs::read_dir(&store).into_iter().flatten().flatten();
            files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("train-"))
        };
        while !begun() {
            assert!(started.elapsed() < LIMIT, "no shard");
            std::thread::sleep(Duration::from_millis(1));
        }
        kill_process(Pid::from_child(&import), asked).unwrap();
        let output = import.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert!(said.contains("run the same command again to resume"), "{said}");
        assert!(!data(&["verify", &store], root.path()).status.success(), "it is half a store");

        assert!(data(&["import", &set, "--out", &store], root.path()).status.success());
        assert!(data(&["verify", &store], root.path()).status.success());
        let inspected = data(&["inspect", &store], root.path());
        let said = String::from_utf8_lossy(&inspected.stdout);
        assert!(said.starts_with("store: closed-safe (no image was changed)"), "{said}");
    }
}

#[test]
fn a_folder_of_stores_is_inspected_verified_and_imported_as_what_it_is() {
    let root = TempDir::new().unwrap();
    let set = synth(&root);
    let [out, again] = ["stores", "again"].map(|name| root.path().join(name).display().to_string());
    let good = |words: &[&str]| {
        let output = data(words, root.path());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    good(&["import", &set, "--out", &out, "--max-side", "32,48"]);
    let said = good(&["inspect", &out]);
    for store in ["store 32: open-only (training images of at most 32 px", "store 48: open-only"] {
        assert!(said.contains(store), "{said}");
    }
    let said = good(&["verify", &out]);
    assert_eq!(said.matches(" unchanged: ").count(), 2, "{said}");
    // From the largest, whose size it has; the slash is a shell's.
    good(&["import", &out, "--out", &format!("{again}/")]);
    let manifest = fs::read_to_string(root.path().join("again/manifest.json")).unwrap();
    assert!(manifest.contains("\"max_side\": 48") && manifest.contains("open-only"), "{manifest}");
}

#[test]
fn a_folder_that_is_no_store_is_not_verified() {
    let root = TempDir::new().unwrap();
    let set = synth(&root);
    let output = data(&["verify", &set], root.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("is not a store") && said.contains("name a folder that"), "{said}");
}
