//! Our verdicts against those of `mlperf_logging`'s checker, which `scripts/oracle/mlcommons` installs.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use mlperf_run::compliance::{Ruleset, check_bytes};
use mlperf_run::mllog::{
    CacheClear, Clock, Hyperparameters, LarsOptions, Optimizer, Session, SgdOptions, Submission,
};
use mlperf_run::mlperf::RunStatus;

use crate::check::{own_logs, say};
use crate::mutants::{Mutants, seed_and_count};

/// Asks the reference for its verdict on each file.
pub(crate) fn reference(ruleset: Ruleset, files: &[PathBuf]) -> BTreeMap<PathBuf, bool> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/mlcommons");
    let output = Command::new(script).arg(ruleset.as_str()).args(files).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let verdicts: BTreeMap<_, _> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(verdict, file)| (PathBuf::from(file), verdict == "accepted"))
        .collect();
    assert_eq!(verdicts.len(), files.len(), "the oracle does not work: {complaint}");
    let code = i32::from(verdicts.values().any(|accepted| !accepted));
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    verdicts
}

/// Asserts that we and the reference judge all of `logs` alike, and gives the verdicts.
pub(crate) fn judged_alike(ruleset: Ruleset, logs: &[Vec<u8>]) -> Vec<bool> {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> =
        (0..logs.len()).map(|index| folder.path().join(format!("{index}.txt"))).collect();
    for (file, log) in files.iter().zip(logs) {
        std::fs::write(file, log).unwrap();
    }
    let verdicts = reference(ruleset, &files);
    for (file, log) in files.iter().zip(logs) {
        let report = check_bytes(log, ruleset);
        assert_eq!(
            report.reference_accepts(),
            verdicts[file],
            "{ruleset}: {:#?} on\n{}",
            report.findings,
            String::from_utf8_lossy(log)
        );
    }
    files.iter().map(|file| verdicts[file]).collect()
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A second passes with each look.
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

fn submission(division: &str) -> Submission {
    Submission {
        org: "Zürich Labs".into(),
        platform: "one-box".into(),
        division: division.into(),
        status: "onprem".into(),
        benchmark: "resnet".into(),
        poc_name: Some("Somebody".into()),
    }
}

fn hyperparameters(opt_name: &str) -> Hyperparameters {
    let sgd = SgdOptions {
        base_learning_rate: 1.7,
        end_learning_rate: Some(1e-4),
        decay_poly_power: Some(2.0),
        decay_steps: Some(20_000),
        momentum: 0.9,
        weight_decay: 1e-4,
        warmup_epochs: 5.0,
    };
    let lars = LarsOptions {
        base_learning_rate: 8.5,
        end_learning_rate: 1e-4,
        decay_poly_power: Some(2.0),
        decay_steps: 20_000,
        epsilon: 0.0,
        momentum: 0.9,
        weight_decay: 5e-5,
        warmup_epochs: 5.0,
    };
    Hyperparameters {
        seed: u64::MAX,
        global_batch_size: 2048,
        train_samples: 1_281_167,
        eval_samples: 50_000,
        gradient_accumulation_steps: 1,
        bn_span: 256,
        opt_name: opt_name.into(),
        optimizer: if opt_name == "lars" { Optimizer::Lars(lars) } else { Optimizer::Sgd(sgd) },
    }
}

/// A log of our own session: blocks of 4 epochs, one accuracy each.
fn session_log(division: &str, opt_name: &str, accuracies: &[f64], status: RunStatus) -> Vec<u8> {
    let buffer = Buffer::default();
    let clock = Box::new(Ticking(AtomicU64::new(1_700_000_000_000)));
    let mut session = Session::open(Box::new(buffer.clone()), clock)
        .submission(&submission(division))
        .unwrap()
        .cache_clear(&CacheClear::Failed { reason: "exit status: 1: Permission denied".into() })
        .unwrap()
        .init_start()
        .unwrap()
        .hyperparameters(&hyperparameters(opt_name))
        .unwrap()
        .init_stop()
        .unwrap()
        .run_start()
        .unwrap();
    for (block, accuracy) in accuracies.iter().enumerate() {
        let first = block * 4 + 1;
        session.block_start(first, 4).unwrap();
        for epoch in first..first + 4 {
            session.epoch_start(epoch).unwrap();
            session.epoch_stop(epoch).unwrap();
        }
        session.eval_start(first + 3).unwrap();
        session.eval_accuracy(first + 3, *accuracy).unwrap();
        session.eval_stop(first + 3).unwrap();
        session.tracked_stats(first + 3, serde_json::json!({"throughput": 20_000.5})).unwrap();
        if status == RunStatus::Success || block + 1 < accuracies.len() {
            session.block_stop().unwrap();
        }
    }
    drop(session.run_stop(status).unwrap());
    Arc::try_unwrap(buffer.0).unwrap().into_inner().unwrap()
}

#[test]
fn logs_of_our_own_session_are_accepted() {
    let open = [
        session_log("open", "sgd", &[0.4, 0.7612], RunStatus::Success),
        session_log("open", "sgdw", &[0.4, 0.5], RunStatus::Aborted),
    ];
    for ruleset in [Ruleset::V2_0_0, Ruleset::V4_0_0] {
        assert_eq!(judged_alike(ruleset, &open), [true; 2]);
    }
    let closed = [
        session_log("closed", "lars", &[0.4, 0.7612], RunStatus::Success),
        session_log("closed", "sgd", &[0.4, 0.7612], RunStatus::Success),
    ];
    assert_eq!(judged_alike(Ruleset::V4_0_0, &closed), [true; 2]);
}

#[test]
fn a_log_that_lacks_any_one_key_is_judged_alike() {
    for (ruleset, division, opt_name) in [
        (Ruleset::V2_0_0, "open", "sgd"),
        (Ruleset::V4_0_0, "open", "sgd"),
        (Ruleset::V4_0_0, "closed", "lars"),
        (Ruleset::V1_0_0, "closed", "sgd"),
    ] {
        let log = session_log(division, opt_name, &[0.4, 0.7612], RunStatus::Success);
        let log = String::from_utf8(log).unwrap();
        let mut keys: Vec<_> = log.lines().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        let without = |dropped: &&str| {
            let kept = log.lines().filter(|line| key(line) != *dropped);
            kept.collect::<Vec<_>>().join("\n").into_bytes()
        };
        let verdicts = judged_alike(ruleset, &keys.iter().map(without).collect::<Vec<_>>());
        let num_needed = verdicts.iter().filter(|accepted| !**accepted).count();
        // Epochs and evaluations may be replaced by blocks, blocks by epochs in part.
        assert!(num_needed >= 13, "{ruleset} {division}: {num_needed} of {keys:?}");
    }
}

/// The key of a line of ours.
fn key(line: &str) -> &str {
    line.split_once("\"key\": \"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0
}

#[test]
fn the_recorded_verdicts_on_our_logs_are_the_references() {
    let verdicts = std::fs::read_to_string(own_logs().join("verdicts.json")).unwrap();
    let verdicts: serde_json::Value = serde_json::from_str(&verdicts).unwrap();
    let names: Vec<_> = verdicts["files"].as_object().unwrap().keys().collect();
    let files: Vec<_> = names.iter().map(|name| own_logs().join(name)).collect();
    // The verdicts were recorded for the rulesets with ResNet.
    let with_resnet = |ruleset: &Ruleset| *ruleset <= Ruleset::LAST_WITH_RESNET;
    for ruleset in Ruleset::ALL.into_iter().filter(with_resnet) {
        for (file, accepted) in reference(ruleset, &files) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let captured = &verdicts["files"][name]["checks"][ruleset.as_str()]["pass"];
            assert_eq!(captured, accepted, "{name} {ruleset}");
        }
    }
}

/// Logs that are sound under their rules: every ruleset, both divisions, both optimizers.
fn sound_logs() -> [(Ruleset, Vec<u8>); 8] {
    let log = |division, optimizer| session_log(division, optimizer, &[0.7612], RunStatus::Success);
    let with_tensors = std::fs::read(own_logs().join("ok_closed_with_tensors.txt")).unwrap();
    [
        (Ruleset::V0_7_0, log("closed", "sgd")),
        (Ruleset::V1_0_0, log("closed", "lars")),
        (Ruleset::V1_1_0, with_tensors.clone()),
        (Ruleset::V2_0_0, log("open", "sgd")),
        (Ruleset::V2_1_0, with_tensors),
        (Ruleset::V3_0_0, log("closed", "sgd")),
        (Ruleset::V3_1_0, log("open", "sgd")),
        (Ruleset::V4_0_0, log("closed", "lars")),
    ]
}

#[test]
fn changed_logs_are_judged_alike() {
    let (seed, count) = seed_and_count();
    let mut mutants = Mutants::new(seed);
    let sound = sound_logs();
    let mut num_accepted = 0;
    for (place, (ruleset, log)) in sound.iter().enumerate() {
        let fraction = (count + place) / sound.len();
        let log = std::str::from_utf8(log).unwrap();
        let logs: Vec<_> = (0..fraction).map(|_| mutants.of(log)).collect();
        num_accepted += judged_alike(*ruleset, &logs).iter().filter(|it| **it).count();
    }
    say(&format!("seed {seed}: {count} mutants judged alike, {num_accepted} of them accepted"));
    let said = num_accepted as f64 / count as f64;
    assert!((0.05..0.95).contains(&said), "{num_accepted} of {count} accepted say little");
}
