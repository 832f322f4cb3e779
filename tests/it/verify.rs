//! Verdicts on submissions: agreement with the reference's recorded ones, with its tools run for
//! real, and the command.
//!
//! `MLPERF_RUN_LOGS` names a corpus with `verdicts.json` (`packages[FOLDER]`).

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use mlperf_run::cli::exit::{Exit, Failure};
use mlperf_run::cli::package::{PackageArgs, answer};
use mlperf_run::compliance::{Ruleset, Severity, Strictness};
use mlperf_run::submission::{Code, verify};
use serde_json::Value;

use crate::check::say;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: PackageArgs,
}

pub(crate) fn package(arguments: &[&str]) -> Result<(String, Exit), Failure> {
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
