//! Verdicts on submissions: agreement with the reference's recorded ones, with its tools run for
//! real, and the command.
//!
//! `MLPERF_RUN_LOGS` names a corpus with `verdicts.json` (`packages[FOLDER]`).

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use clap::Parser;
use mlperf_run::cli::exit::{Exit, Failure};
use mlperf_run::cli::package::{PackageArgs, answer};
use mlperf_run::compliance::{Ruleset, Severity, Strictness};
use mlperf_run::submission::{Code, verify};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

use super::tree::{self, Change};
use crate::{check::say, mutants::seed_and_count};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: PackageArgs,
}

pub(super) fn package(arguments: &[&str]) -> Result<(String, Exit), Failure> {
    answer(&Command::try_parse_from([&["package"], arguments].concat()).unwrap().args)
}

fn corpus() -> Option<(PathBuf, Value)> {
    let Some(folder) = std::env::var_os("MLPERF_RUN_LOGS").map(PathBuf::from) else {
        say("MLPERF_RUN_LOGS is not set: the reference's verdicts on packages are not compared");
        return None;
    };
    let verdicts = fs::read_to_string(folder.join("verdicts.json")).unwrap();
    Some((folder, serde_json::from_str(&verdicts).unwrap()))
}

/// Whether the seed checker complained, as the recorded messages of the package checker say. Where
/// it crashed later, the record holds no messages at all.
fn seeds_pass(checker: &Value) -> Option<bool> {
    if !checker["crash"].is_null() {
        return None;
    }
    let errors = checker["errors"].as_array().unwrap();
    Some(!errors.iter().any(|error| error.as_str().unwrap() == "Seed checker failed"))
}

#[test]
fn packages_and_seeds_are_judged_as_the_reference_judged_them() {
    let Some((folder, verdicts)) = corpus() else { return };
    let (mut disagreements, mut num_seeds) = (Vec::new(), 0);
    let packages = verdicts["packages"].as_object().unwrap();
    for (name, package) in packages {
        let ruleset: Ruleset = package["ruleset"].as_str().unwrap().parse().unwrap();
        let ours = verify(&folder.join(name), ruleset, Strictness::default());
        let theirs = &package["package_checker"];
        let mut compare = |what: &str, ours_accepts: bool, theirs: bool| {
            if ours_accepts != theirs {
                let findings = &ours.findings;
                disagreements.push(format!("{name}: {what}: {theirs} there; {findings:#?}"));
            }
        };
        compare("package", ours.package_checker_accepts(), theirs["success"] == true);
        compare(
            "repository",
            ours.repo_checker_accepts(),
            package["repo_checker"]["passed"] == true,
        );
        if let Some(seeds) = seeds_pass(theirs) {
            compare("seeds", ours.seed_checker_accepts().unwrap_or(true), seeds);
            num_seeds += 1;
        }
        for (system, judged) in package["systems"].as_object().unwrap() {
            let path = Path::new("systems").join(format!("{system}.json"));
            let of_system = |code: Code| {
                matches!(code, Code::MissingField | Code::StatusUnknown | Code::BadDescription)
            };
            let complains = ours.findings.iter().any(|it| it.path == path && of_system(it.code));
            // Before 1.0.0 the package checker does not ask the system description checker.
            if ruleset > Ruleset::V0_7_0 {
                compare(system, !complains, judged["system_desc_checker"]["valid"] == true);
            }
        }
    }
    say(&format!("{} packages compared, seeds of {num_seeds}", packages.len()));
    assert!(packages.len() >= 20 && num_seeds >= 18);
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

/// What was published and would pass today is honest: of our own faults it has only the one that
/// comes from being cut down to logs.
#[test]
fn published_submissions_that_the_reference_accepts_have_no_faults_of_ours() {
    let Some((folder, verdicts)) = corpus() else { return };
    let mut num_published = 0;
    for (name, package) in verdicts["packages"].as_object().unwrap() {
        if !name.starts_with("submissions/") {
            continue;
        }
        let ruleset = package["ruleset"].as_str().unwrap().parse().unwrap();
        let verdict = verify(&folder.join(name), ruleset, Strictness::default());
        let faults = verdict.findings.iter().filter(|it| it.severity() == Severity::Fault);
        let faults: Vec<_> = faults.filter(|it| it.code != Code::NoImplementation).collect();
        if verdict.reference_accepts() {
            assert!(faults.is_empty(), "{name}: {faults:#?}");
            num_published += 1;
        }
    }
    assert!(num_published >= 6);
}

/// What the reference's tools say of each folder: packages, seeds (unknown after a crash), names.
pub(super) fn reference(ruleset: Ruleset, folders: &[PathBuf]) -> Vec<[Option<bool>; 3]> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/mlcommons");
    let mut command = process::Command::new(script);
    command.args(["--packages", ruleset.as_str()]).args(folders);
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let verdict = |word: &str| match word {
        "accepted" => Some(true),
        "rejected" => Some(false),
        _ => None,
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<_>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), folders.len(), "the oracle does not work: {complaint}");
    lines.iter().map(|words| [0, 1, 2].map(|place| verdict(words[place]))).collect()
}

/// Asserts that we and the reference judge every tree alike; how many packages are accepted.
fn judged_alike(ruleset: Ruleset, division: &str, alterations: &[Vec<Change>]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let trees: Vec<_> = (0..alterations.len())
        .map(|number| folder.path().join(format!("t{number}/Somebody")))
        .collect();
    let mut ours = Vec::new();
    for (tree, changes) in trees.iter().zip(alterations) {
        tree::sound(tree, division);
        for (_, change) in changes {
            change(tree);
        }
        ours.push(verify(tree, ruleset, Strictness::default()));
    }
    let theirs = reference(ruleset, &trees);
    for ((ours, [package, seeds, repository]), changes) in ours.iter().zip(theirs).zip(alterations)
    {
        let what: Vec<_> = changes.iter().map(|(what, _)| what).collect();
        let findings = &ours.findings;
        let said = || format!("{ruleset} {division}: {what:?}: {findings:#?}");
        assert_eq!(Some(ours.package_checker_accepts()), package, "package, {}", said());
        assert_eq!(Some(ours.repo_checker_accepts()), repository, "repository, {}", said());
        if seeds.is_some() {
            assert_eq!(
                ours.seed_checker_accepts().unwrap_or(true),
                seeds == Some(true),
                "seeds, {}",
                said()
            );
        }
    }
    ours.iter().filter(|verdict| verdict.package_checker_accepts()).count()
}

#[test]
fn trees_with_a_change_are_judged_as_the_reference_judges_them() {
    let each: Vec<_> = tree::CHANGES.iter().map(|change| vec![*change]).collect();
    for (ruleset, division) in
        [(Ruleset::V4_0_0, "closed"), (Ruleset::V4_0_0, "open"), (Ruleset::V0_7_0, "closed")]
    {
        let accepted = judged_alike(ruleset, division, &each);
        say(&format!("{ruleset} {division}: {} trees, {accepted} accepted", each.len()));
        assert!(accepted > 10 && accepted < each.len() - 10);
    }
}

#[test]
fn seeds_count_as_unreached_where_the_package_checker_crashes_before() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("Somebody");
    tree::sound(&root, "closed");
    let log = root.join("results/box/resnet/result_0.txt");
    let text = fs::read_to_string(&log).unwrap();
    let sound = verify(&root, Ruleset::V4_0_0, Strictness::default());
    assert!(sound.reaches_seed_checker() && sound.seed_checker_accepts() == Some(true));
    fs::write(&log, text.replace("0.7612", "null")).unwrap();
    let crashing = verify(&root, Ruleset::V4_0_0, Strictness::default());
    assert!(!crashing.reaches_seed_checker() && crashing.seed_checker_accepts() == Some(true));
    let path = root.to_str().unwrap();
    let (text, exit) = package(&["--verify", path, "--ruleset", "4.0.0"]).unwrap();
    assert_eq!(exit, Exit::NotCompliant);
    let words =
        "seed checker is not reached (the package checker crashes before it; here it accepts)";
    assert!(text.contains(words), "{text}");
}

#[test]
fn trees_with_two_changes_are_judged_as_the_reference_judges_them() {
    let (seed, count) = seed_and_count();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let two = prop::collection::vec(prop::sample::select(tree::CHANGES), 2);
    let mut draw = || two.new_tree(&mut runner).unwrap().current();
    for (ruleset, division) in [
        (Ruleset::V1_0_0, "closed"),
        (Ruleset::V2_0_0, "open"),
        (Ruleset::V3_1_0, "closed"),
        (Ruleset::V4_0_0, "closed"),
    ] {
        let alterations: Vec<_> = (0..count / 16).map(|_| draw()).collect();
        let accepted = judged_alike(ruleset, division, &alterations);
        say(&format!("{ruleset} {division}: {} trees, {accepted} accepted", alterations.len()));
    }
}

/// What [`tree::CHANGES`] does, and the finding of ours that speaks of it; none of them changes what
/// the reference says of an open submission.
#[test]
fn what_the_reference_overlooks_is_found() {
    for (what, code) in [
        ("a log is another one", Code::SameLog),
        ("a log is of the other division", Code::DivisionDiffers),
        ("a batch size differs", Code::RunsDiffer),
        ("a factor is there", Code::StaleScaling),
        ("two runs were aborted", Code::AbortedCounts),
        ("the results are empty", Code::NothingSubmitted),
        ("the division is not a word", Code::DivisionWord),
        ("a link out of the tree", Code::LinkLeaves),
        ("a run has no number", Code::Numbering),
        ("a seed is repeated", Code::OpenSeedRepeated),
        ("a bypass has a line end", Code::BypassIdle),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("Somebody");
        // A bypass is of interest in the closed division only.
        let division = if code == Code::BypassIdle { "closed" } else { "open" };
        tree::sound(&tree, division);
        let (_, change) = tree::CHANGES.iter().find(|(name, _)| *name == what).unwrap();
        let codes = || -> Vec<Code> {
            let verdict = verify(&tree, Ruleset::V4_0_0, Strictness::default());
            verdict.findings.iter().map(|finding| finding.code).collect()
        };
        assert!(!codes().contains(&code), "{what}: {code} is found in a sound tree");
        change(&tree);
        assert!(codes().contains(&code), "{what}: {:?}", codes());
    }
}

#[test]
fn the_command_says_what_each_tool_says_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("v4.0/Somebody");
    tree::sound(&tree, "closed");
    let path = folder.path().to_str().unwrap();
    let (sound, exit) = package(&["--verify", path]).unwrap();
    assert_eq!(exit, Exit::Ok, "{sound}");
    for (what, change) in tree::CHANGES {
        if ["a seed is repeated", "a field is missing", "a link is broken"].contains(what) {
            change(&tree);
        }
    }
    let (text, exit) = package(&["--verify", path]).unwrap();
    assert_eq!(exit, Exit::NotCompliant);
    insta::assert_snapshot!("verify_text", text.replace(path, "DIR"));
    let (json, _) = package(&["--verify", path, "--json"]).unwrap();
    let answer: Value = serde_json::from_str(&json).unwrap();
    let submission = &answer["submissions"][0];
    assert_eq!(submission["ruleset"], "4.0.0");
    assert_eq!(submission["seed_checker_accepts"], false);
    assert_eq!(submission["repo_checker_accepts"], false);
    assert_eq!(submission["findings"][0]["code"], "broken-link");
    assert_eq!(submission["systems"][0]["logs"].as_array().unwrap().len(), 5);
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&0.into(), &1.into()));
}

/// The reference takes a run that was given up for one that reached the target.
#[test]
fn an_aborted_run_that_betters_the_score_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("Somebody");
    tree::sound(&tree, "open");
    let aborts = |number: usize, earlier_ms: u64| {
        let path = tree.join(format!("results/box/resnet/result_{number}.txt"));
        let text = fs::read_to_string(&path).unwrap().replace("\"success\"", "\"aborted\"");
        let stop = text.lines().last().unwrap();
        let time: u64 = stop.split(['{', ',', ':']).find_map(|it| it.trim().parse().ok()).unwrap();
        let earlier = stop.replace(&time.to_string(), &(time - earlier_ms).to_string());
        fs::write(&path, text.replace(stop, &earlier)).unwrap();
        let verdict = verify(&tree, Ruleset::V4_0_0, Strictness::default());
        let codes: Vec<_> = verdict.findings.iter().map(|finding| finding.code).collect();
        assert!(verdict.reference_accepts(), "{codes:?}");
        codes.contains(&Code::AbortedCounts)
    };
    // All runs take equally long: given up or not, the slowest of them is dropped.
    assert!(!aborts(1, 0));
    // The time between the other runs' and its own must not better the mean.
    assert!(aborts(2, 60_000));
}

#[test]
fn faults_reject_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("Somebody");
    tree::sound(&tree, "open");
    fs::remove_dir_all(tree.join("benchmarks")).unwrap();
    let path = tree.to_str().unwrap();
    assert_eq!(package(&["--verify", path]).unwrap().1, Exit::Ok);
    assert_eq!(package(&["--verify", path, "--strict"]).unwrap().1, Exit::NotCompliant);
}

#[test]
fn what_is_no_submission_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let failure = package(&["--verify", path.to_str().unwrap()]).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        failure.to_string()
    };
    assert!(refused(folder.path()).starts_with("no submission found below "));
    assert!(refused(&folder.path().join("no")).starts_with("cannot read "));
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(refused(&folder.path().join("file")).contains("is not a folder"));
}

#[test]
fn codes_are_explained() {
    let (text, exit) = package(&["--explain", "seed-repeated"]).unwrap();
    assert_eq!(exit, Exit::Ok);
    assert!(text.contains("seed checker rejects") && text.contains("Fix: give each run"), "{text}");
}

#[test]
fn pipes_and_devices_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("Somebody");
    tree::sound(&tree, "closed");
    for name in [
        "LICENSE",
        "SHA256SUMS",
        "systems/box.json",
        "systems/other.json",
        "results/box/package_checker_params",
        "results/box/resnet/scaling.json",
        "results/box/resnet/result_0.txt",
    ] {
        let path = tree.join(name);
        let _ = fs::remove_file(&path);
        mkfifoat(CWD, &path, Mode::RUSR).unwrap();
    }
    std::os::unix::fs::symlink("/dev/zero", tree.join("results/box/resnet/result_5.txt")).unwrap();
    // Who opens one of them never comes back.
    let verdict = verify(&tree, Ruleset::V4_0_0, Strictness::default());
    let of = |code| verdict.findings.iter().filter(|finding| finding.code == code).count();
    assert_eq!(of(Code::LogUnreadable), 2, "{:#?}", verdict.findings);
    assert_eq!(of(Code::NotAFile), 7);
}

/// Bytes that a file of a hostile tree may hold.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..30),
        "[\\[\\]{}:,\"\\\\u0-9eE.+\\-a-z \n]{0,30}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            b":::MLLOG {\"time_ms\": 1, \"key\": \"seed\", \"value\": 1e999, \"metadata\": {}}\n".to_vec(),
            b":::MLLOG {\"time_ms\": NaN, \"key\": \"run_start\", \"value\": 1, \"metadata\": 1}\n".to_vec(),
            b":::MLLOG {\"time_ms\": -1e308, \"key\": \"run_stop\", \"value\": 1, \"metadata\": []}\n".to_vec(),
            b"{\"scaling_factor\": 1e999}".to_vec(),
            b"rcp-bypass".to_vec(),
        ]),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

const HOSTILE: &[&str] = &[
    "LICENSE",
    "SHA256SUMS",
    "systems",
    "systems/box.json",
    "systems/..json",
    "results/box/package_checker_params",
    "results/box/resnet",
    "results/box/resnet/result_0.txt",
    "results/box/resnet/result_99999999999999999999.txt",
    "results/box/resnet/result_.txt",
    "results/box/resnet/scaling.json",
    "results/box/resnet/power",
    "results/box/bert/result_0.txt",
    "results/ /resnet/result_0.txt",
    "benchmarks/resnet/implementations",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn no_tree_is_a_panic(
        division in prop::sample::select(vec!["open", "closed"]),
        ruleset in prop::sample::select(&Ruleset::ALL[..]),
        changes in prop::collection::vec(prop::sample::select(tree::CHANGES), 0..3),
        files in prop::collection::vec((prop::sample::select(HOSTILE), bytes()), 0..4),
        links in prop::collection::vec(
            (prop::sample::select(HOSTILE), prop::sample::select(vec!["/dev/zero", "..", ".", "x"])),
            0..2,
        ),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("Somebody");
        tree::sound(&tree, division);
        for (_, change) in changes {
            change(&tree);
        }
        for (name, text) in files {
            let path = tree.join(name);
            // Some names stand for a folder already.
            let _ = fs::create_dir_all(path.parent().unwrap());
            let _ = fs::write(path, text);
        }
        for (name, target) in links {
            let path = tree.join(name);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            let _ = std::os::unix::fs::symlink(target, path);
        }
        let verdict = verify(&tree, ruleset, Strictness::default());
        prop_assert!(verdict.findings.iter().all(|finding| finding.path.is_relative()));
    }
}
