//! The checker on whole logs: agreement with the reference's recorded verdicts, and the command.
//!
//! `MLPERF_RUN_LOGS` may name a corpus of logs with the reference's verdicts in `verdicts.json`
//! (`files[PATH].checks[RULESET].pass`); without it the logs in `tests/logs` are judged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mlperf_run::compliance::{Ruleset, Severity, Strictness, check_file};
use serde_json::Value;

pub(crate) fn own_logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

/// The folder of logs and its `verdicts.json`.
fn corpus() -> (PathBuf, Value) {
    let folder = std::env::var_os("MLPERF_RUN_LOGS").map(PathBuf::from);
    match &folder {
        Some(folder) => eprintln!("judging the corpus {}", folder.display()),
        None => eprintln!("MLPERF_RUN_LOGS is not set: judging the few logs of tests/logs alone"),
    }
    let folder = folder.unwrap_or_else(own_logs);
    let verdicts = std::fs::read_to_string(folder.join("verdicts.json")).unwrap();
    (folder, serde_json::from_str(&verdicts).unwrap())
}

/// Keys that the reference blames; `None` where it says nothing that could be compared.
fn blamed(check: &Value) -> Option<BTreeSet<&str>> {
    if !check["crash"].is_null() {
        return None;
    }
    let errors = check["messages"].as_array()?.iter().filter(|it| it["level"] == "error");
    Some(errors.filter_map(|message| message["key"].as_str()).collect())
}

#[test]
fn the_checker_agrees_with_the_reference_on_every_log_under_every_ruleset() {
    let (folder, verdicts) = corpus();
    let files = verdicts["files"].as_object().unwrap();
    let mut num_compared = 0;
    let mut disagreements = Vec::new();
    for (name, file) in files {
        for ruleset in Ruleset::ALL {
            let check = &file["checks"][ruleset.as_str()];
            let Some(pass) = check["pass"].as_bool() else { continue };
            let report = check_file(&folder.join(name), ruleset).unwrap();
            num_compared += 1;
            let errors = || report.findings.iter().filter(|it| it.severity() == Severity::Error);
            let ours: BTreeSet<_> = errors().filter_map(|finding| finding.key).collect();
            let blame_agrees = blamed(check).is_none_or(|theirs| theirs.is_subset(&ours));
            if report.reference_accepts() != pass || !blame_agrees {
                let findings: Vec<_> = errors().map(ToString::to_string).collect();
                disagreements.push(format!("{name} {ruleset}: {pass} there, here {findings:#?}"));
            }
        }
        let own: Option<Ruleset> = file["ruleset"].as_str().and_then(|name| name.parse().ok());
        if let (Some(ruleset), Some(exit)) = (own, file["werror_exit"].as_i64()) {
            let report = check_file(&folder.join(name), ruleset).unwrap();
            let werror = Strictness { warnings_reject: true, faults_reject: false };
            if report.accepted(werror) != (exit == 0) {
                disagreements.push(format!("{name} {ruleset} --werror: exit code {exit} there"));
            }
        }
    }
    eprintln!("{num_compared} verdicts on {} logs compared", files.len());
    assert!(num_compared >= 8 * files.len() && files.len() >= 15);
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

/// Logs in `submissions` were published; those in `tests/logs/ok_*` are sound.
#[test]
fn no_honest_log_has_a_fault() {
    let (folder, verdicts) = corpus();
    let names = verdicts["files"].as_object().unwrap().keys();
    let honest: Vec<_> =
        names.filter(|name| name.starts_with("submissions/") || name.starts_with("ok_")).collect();
    assert!(honest.len() >= 4, "{honest:?}");
    for name in honest {
        let report = check_file(&folder.join(name), Ruleset::LATEST).unwrap();
        let faults: Vec<_> =
            report.findings.iter().filter(|it| it.severity() == Severity::Fault).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
}
