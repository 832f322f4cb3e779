//! Runs that end early and go on from a checkpoint, by the real programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::train::{Bench, assert_ok, images};

/// A run with an average of weights and random numbers of the device's generator, whose states must be
/// saved too, and a checkpoint within each epoch.
const LONG: [&str; 12] = [
    "--set",
    "run.max_duration=40ep",
    "--set",
    "mlperf.target=0.999",
    "--set",
    "algorithms.ema.update_interval=2ba",
    "--set",
    "algorithms.ema.half_life=9ba",
    "--set",
    "algorithms.stochastic_depth.drop_rate=0.3",
    "--set",
    "train.checkpoint.interval=4ba",
];

fn long_run(bench: &Bench, extra: &[&str]) -> Output {
    bench.run(&images(), &[&LONG[..], extra].concat())
}

fn start(bench: &Bench, extra: &[&str]) -> Child {
    let mut command = bench.command(&images(), &[&LONG[..], extra].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn weights(bench: &Bench, run: &str) -> Vec<u8> {
    fs::read(bench.path(run).join("weights.safetensors")).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The rank processes that write to `run_dir`, by rank.
fn ranks(run_dir: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let names = |bytes: Vec<u8>, word: &str| String::from_utf8_lossy(&bytes).contains(word);
        let is_rank = read("cmdline").starts_with(env!("CARGO_BIN_EXE_mlperf-rank").as_bytes());
        if is_rank && names(read("cmdline"), "run_0") {
            let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let rank = (0..9).find(|rank| names(read("environ"), &format!("\0RANK={rank}\0")));
            if run_dir.starts_with(cwd) {
                found.push((rank, pid));
            }
        }
    }
    found.sort_unstable_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, pid)| pid).collect()
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_weights() {
    let whole = Bench::new(2);
    assert_ok(&long_run(&whole, &[]), 5);

    let bench = Bench::new(2);
    let child = start(&bench, &[]);
    bench.wait_for("\"checkpoint\"");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_ok(&child.wait_with_output().unwrap(), 7);

    let resumed = bench.bare(&["--resume", "results/here/run_0", "--quiet"]);
    assert_ok(&resumed, 5);
    assert!(weights(&whole, "run_0") == weights(&bench, "run_1"), "the weights differ");

    let manifest = bench.json("run_1/manifest.json");
    let step = &manifest["resumed"]["step"];
    assert!(step.as_u64().unwrap() >= 4, "{manifest}");
    assert_eq!(&bench.json("run_1/summary.json")["resumed_after_step"], step);
    let log = bench.log("run_1/mllog.txt");
    assert_eq!(&log["tracked_stats"]["value"]["resumed_after_step"], step);
    assert!(!bench.path("resnet/result_1.txt").exists(), "a resumed run is no result");
    let starts = |name: &str| {
        let log = fs::read_to_string(bench.path(name)).unwrap();
        log.lines().filter(|line| line.contains("\"epoch_start\"")).count()
    };
    assert_eq!(starts("run_1/mllog.txt"), 40, "each epoch is in the log once");
    assert!(starts("run_0/mllog.txt") < 40);
}

/// Values that change within the first epochs, and gradients of four images at a time.
const CHANGING: [&str; 14] = [
    "--set",
    "algorithms.layer_freezing={start=0.2, level=0.8}",
    "--set",
    "data.train.crop_size=[{until=\"3ep\", value=16}, {until=\"9ep\", from=16, to=32}, {value=24}]",
    "--set",
    "data.train.scale=[{until=\"5ep\", value=[0.2, 1]}, {value=[0.5, 1]}]",
    "--set",
    "optimizer.momentum={from=0.8, to=0.95}",
    "--set",
    "optimizer.weight_decay=[{until=\"4ep\", value=0}, {value=1e-3}]",
    "--set",
    "algorithms.label_smoothing.smoothing={from=0.2, to=0}",
    "--set",
    "train.microbatch=4",
];

#[test]
fn a_run_with_values_by_epoch_and_microbatches_goes_on_to_the_same_weights() {
    let whole = Bench::new(2);
    assert_ok(&long_run(&whole, &CHANGING), 5);
    let log = whole.log("run_0/mllog.txt");
    assert_eq!(log["gradient_accumulation_steps"]["value"], 2);

    let bench = Bench::new(2);
    let child = start(&bench, &CHANGING);
    bench.wait_for("\"checkpoint\"");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_ok(&child.wait_with_output().unwrap(), 7);
    assert_ok(&bench.bare(&["--resume", "results/here/run_0", "--quiet"]), 5);
    assert!(weights(&whole, "run_0") == weights(&bench, "run_1"), "the weights differ");
}

#[test]
fn a_run_whose_rank_dies_goes_on_by_itself() {
    let whole = Bench::new(2);
    assert_ok(&long_run(&whole, &[]), 5);

    let bench = Bench::new(2);
    let child = start(&bench, &["--max-restarts", "1"]);
    bench.wait_for("\"checkpoint\"");
    let victim = ranks(&bench.path("run_0"))[1];
    kill_process(victim, Signal::KILL).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_ok(&output, 5);
    assert!(weights(&whole, "run_0") == weights(&bench, "run_1"), "the weights differ");
}

/// A folder with a run that was killed after its second checkpoint.
fn killed_run() -> Bench {
    let bench = Bench::new(1);
    let mut child = start(&bench, &[]);
    bench.wait_for("\"checkpoint\",\"step\":8}");
    child.kill().unwrap();
    child.wait().unwrap();
    bench
}

#[test]
fn a_run_is_not_resumed_as_another_one() {
    let bench = killed_run();
    let run = ["--resume", "results/here/run_0", "--quiet"];
    for (extra, words) in [
        (
            &["--set", "optimizer.lr=0.2"][..],
            "optimizer.lr = 0.1, and this would have optimizer.lr = 0.2",
        ),
        (&["--nproc", "2"], "run.num_ranks = 1"),
        (&["--seed", "4"], "run.seed = 3"),
    ] {
        let output = bench.bare(&[&run[..], extra].concat());
        assert_ok(&output, 3);
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    let output = bench.bare(&["--resume", "results/nobody", "--quiet"]);
    assert_ok(&output, 3);
    assert!(said(&output).contains("there is no run in it"), "{}", said(&output));
    assert!(!bench.path("run_1").exists(), "a refused run leaves nothing");
    // Checkpoints may be set differently, and the newest run is found by itself.
    let fewer = ["--resume", "--quiet", "--set", "train.checkpoint.interval=off"];
    assert_ok(&bench.bare(&fewer), 5);
    assert!(!bench.path("run_1/checkpoints").exists());
}

#[test]
fn a_damaged_checkpoint_is_left_for_the_one_before_it() {
    let bench = killed_run();
    let mut checkpoints: Vec<PathBuf> = fs::read_dir(bench.path("run_0/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("rank_0.json").exists())
        .collect();
    let step = |path: &PathBuf| -> usize {
        path.to_str().unwrap().rsplit_once('_').unwrap().1.parse().unwrap()
    };
    checkpoints.sort_by_key(step);
    let newest = checkpoints.pop().unwrap();
    let tensors = newest.join("rank_0.safetensors");
    let mut bytes = fs::read(&tensors).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&tensors, bytes).unwrap();
    let output = bench.bare(&["--resume", "results/here/run_0"]);
    assert_ok(&output, 5);
    assert!(said(&output).contains("rank_0.safetensors is damaged"), "{}", said(&output));
    let resumed = &bench.json("run_1/manifest.json")["resumed"]["step"];
    assert_eq!(*resumed, Value::from(step(checkpoints.last().unwrap())));
}

#[test]
fn a_stopped_rank_is_named_and_not_those_that_wait_for_it() {
    let bench = Bench::new(2);
    let child = start(&bench, &["--set", "train.watch.stopped_timeout_s=1"]);
    bench.wait_for("\"run_start\"");
    let victim = ranks(&bench.path("run_0"))[0];
    kill_process(victim, Signal::STOP).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_ok(&output, 6);
    assert!(said(&output).contains("rank 0: has been stopped for 1 s"), "{}", said(&output));
    let start = Instant::now();
    while !ranks(&bench.path("run_0")).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(5), "a rank outlived the run");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn runs_that_are_broken_at_random_end_as_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let chaos = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/chaos");
    let output = Command::new(chaos)
        .args(["--seed", "5", "--count", "10", "--program", env!("CARGO_BIN_EXE_mlperf-run")])
        .args(["--limit-s", "60"])
        .arg("--out")
        .arg(folder.path().join("chaos.tsv"))
        .output()
        .unwrap();
    assert_ok(&output, 0);
}
