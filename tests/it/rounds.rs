//! The published logs of the rounds since 4.1, against the reference's recorded verdicts and scores.
//!
//! `MLPERF_RUN_ROUNDS` names a folder of submissions with `verdicts.json`:
//! `files[PATH][RULESET]` has the exit code and the keys at fault, `systems[PATH][RULESET]` the
//! minutes of each run and the score.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use mlperf_run::cli::score::{ScoreArgs, answer};
use mlperf_run::compliance::{Ruleset, Severity, check_file};
use serde_json::Value;

use crate::check::say;

/// The folder of the rounds and its verdicts, if there is one.
pub(crate) fn rounds() -> Option<(PathBuf, Value)> {
    let Some(folder) = std::env::var_os("MLPERF_RUN_ROUNDS").map(PathBuf::from) else {
        say("MLPERF_RUN_ROUNDS is not set: the rounds since 4.1 are not compared");
        return None;
    };
    let verdicts = fs::read_to_string(folder.join("verdicts.json")).unwrap();
    Some((folder, serde_json::from_str(&verdicts).unwrap()))
}

/// The ruleset of a recorded verdict.
pub(crate) fn ruleset(name: &str) -> Ruleset {
    name.parse().unwrap()
}

/// Whether ours are the reference's verdict and keys at fault.
fn agrees(log: &Path, ruleset: Ruleset, theirs: &Value) -> Result<(), String> {
    let report = check_file(log, ruleset).unwrap();
    let errors = || report.findings.iter().filter(|it| it.severity() == Severity::Error);
    let keys: BTreeSet<_> = errors().filter_map(|finding| finding.key).collect();
    let is_blamed = |key: &Value| keys.contains(key.as_str().unwrap());
    let crashes = !theirs["crash"].is_null();
    if report.reference_accepts() == (theirs["exit"] == 0)
        && report.reference_crashes == crashes
        && (crashes || theirs["keys"].as_array().unwrap().iter().all(is_blamed))
    {
        return Ok(());
    }
    let errors: Vec<_> = errors().map(ToString::to_string).collect();
    Err(format!("{} {ruleset}: {theirs} there, here {errors:#?}", log.display()))
}

#[test]
fn every_published_log_has_the_verdict_of_the_reference() {
    let Some((folder, verdicts)) = rounds() else { return };
    let files = verdicts["files"].as_object().unwrap();
    let pairs = files.iter().flat_map(|(name, rulesets)| {
        rulesets.as_object().unwrap().iter().map(move |(ruleset, theirs)| (name, ruleset, theirs))
    });
    let compared: Vec<_> = pairs
        .map(|(name, named, theirs)| agrees(&folder.join(name), ruleset(named), theirs))
        .collect();
    say(&format!("{} verdicts on {} published logs compared", compared.len(), files.len()));
    let disagreements: Vec<_> = compared.into_iter().filter_map(Result::err).collect();
    assert!(files.len() >= 300);
    assert!(
        disagreements.is_empty(),
        "{} disagreements\n{}",
        disagreements.len(),
        disagreements.join("\n")
    );
}

#[test]
fn no_published_log_has_a_fault() {
    let Some((folder, verdicts)) = rounds() else { return };
    for (name, rulesets) in verdicts["files"].as_object().unwrap() {
        let (named, _) = rulesets.as_object().unwrap().iter().next().unwrap();
        let report = check_file(&folder.join(name), ruleset(named)).unwrap();
        let faults = report.findings.iter().filter(|it| it.severity() == Severity::Fault);
        let faults: Vec<_> = faults.map(ToString::to_string).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ScoreArgs,
}

#[test]
fn every_published_system_has_the_score_of_the_reference() {
    let Some((folder, verdicts)) = rounds() else { return };
    let systems = verdicts["systems"].as_object().unwrap();
    for (name, rulesets) in systems {
        for (named, theirs) in rulesets.as_object().unwrap() {
            let path = folder.join(name);
            let arguments = ["score", path.to_str().unwrap(), "--ruleset", named, "--json"];
            let (text, _) = answer(&Command::try_parse_from(arguments).unwrap().args).unwrap();
            let ours: Value = serde_json::from_str(&text).unwrap();
            let [ours] = &ours["systems"].as_array().unwrap()[..] else { panic!("{text}") };
            let near = |ours: &Value, theirs: &Value| match (ours.as_f64(), theirs.as_f64()) {
                (Some(ours), Some(theirs)) => (ours - theirs).abs() < 1e-4,
                (ours, theirs) => ours == theirs,
            };
            // The summarizer reads a factor that another tool has written; here there is none.
            assert!(theirs["scale"] == 1.0, "{name}");
            assert!(near(&ours["olympic_minutes"], &theirs["score"]), "{name} {named}: {text}");
            for run in ours["runs"].as_array().unwrap() {
                let file = Path::new(run["file"].as_str().unwrap()).file_name().unwrap();
                let minutes = &theirs["runs"][file.to_str().unwrap()];
                assert_eq!(run["compliant"] == true, !minutes.is_null(), "{name} {run}");
                assert!(minutes.is_null() || near(&run["minutes"], minutes), "{name} {run}");
            }
        }
    }
    say(&format!("{} published systems scored", systems.len()));
    assert!(systems.len() >= 30);
}
