//! The checker on whole logs: agreement with the reference's recorded verdicts, and the command.
//!
//! `MLPERF_RUN_LOGS` may name a corpus of logs with the reference's verdicts in `verdicts.json`
//! (`files[PATH].checks[RULESET].pass`); without it the logs in `tests/logs` are judged.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use mlperf_run::cli::check::{CheckArgs, answer};
use mlperf_run::cli::exit::{Exit, Failure};
use mlperf_run::compliance::{Report, Ruleset, Severity, Strictness, check_file};
use serde_json::{Value, json};

pub(crate) fn own_logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

#[expect(clippy::print_stderr, reason = "a run without the corpus has to say so")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

/// The folder of logs and its `verdicts.json`.
fn corpus() -> (PathBuf, Value) {
    let folder = std::env::var_os("MLPERF_RUN_LOGS").map(PathBuf::from);
    match &folder {
        Some(folder) => say(&format!("judging the corpus {}", folder.display())),
        None => say("MLPERF_RUN_LOGS is not set: judging the few logs of tests/logs alone"),
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
            // Not every record says whether the reference crashed.
            let crash = check.get("crash");
            let crash_agrees = crash.is_none_or(|it| it.is_null() != report.reference_crashes);
            if report.reference_accepts() != pass || !blame_agrees || !crash_agrees {
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
    say(&format!("{num_compared} verdicts on {} logs compared", files.len()));
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
        let report = check_file(&folder.join(name), Ruleset::LAST_WITH_RESNET).unwrap();
        let faults: Vec<_> =
            report.findings.iter().filter(|it| it.severity() == Severity::Fault).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: CheckArgs,
}

fn check(arguments: &[&str]) -> Result<(String, Exit), Failure> {
    answer(&Command::try_parse_from([&["check"], arguments].concat()).unwrap().args)
}

fn log(name: &str) -> String {
    own_logs().join(name).to_str().unwrap().into()
}

/// The text without the folder of the logs.
fn text(arguments: &[&str]) -> String {
    check(arguments).unwrap().0.replace(&format!("{}/", own_logs().display()), "")
}

fn failure(arguments: &[&str]) -> String {
    let failure = check(arguments).unwrap_err();
    assert_eq!(failure.exit, Exit::Invalid);
    format!("{:#}", failure.error)
}

#[test]
fn the_command_says_verdict_rules_division_minutes_and_findings() {
    let logs = ["ok_open.txt", "closed_below_target.txt", "line_cut_short.txt"].map(log);
    let arguments = [logs[0].as_str(), &logs[1], &logs[2], "--ruleset", "3.0.0"];
    insta::assert_snapshot!("check_text", text(&arguments));
}

#[test]
fn findings_that_are_alike_are_cut_in_text_only() {
    let sound = fs::read_to_string(log("ok_open.txt")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.txt");
    fs::write(&path, sound.replace("\"epoch_num\"", "\"epoch\"")).unwrap();
    let path = path.to_str().unwrap();
    let text = check(&[path]).unwrap().0;
    assert_eq!(text.matches("epoch_start must have epoch_num").count(), 3, "{text}");
    assert!(text.contains("and 5 more of this kind"), "{text}");
    let json = check(&[path, "--json"]).unwrap().0;
    assert_eq!(json.matches("epoch_start must have epoch_num").count(), 8, "{json}");
}

#[test]
fn exit_codes_follow_the_strictness() {
    let exit = |arguments: &[&str]| check(arguments).unwrap().1;
    let (sound, twice) = (log("ok_open.txt"), log("org_twice_alike.txt"));
    assert_eq!(exit(&[&sound, "--werror", "--strict"]), Exit::Ok);
    assert_eq!(exit(&[&sound, &log("no_records.txt")]), Exit::NotCompliant);
    assert_eq!(exit(&[&twice, "--strict"]), Exit::Ok);
    assert_eq!(exit(&[&twice, "--werror"]), Exit::NotCompliant);
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late.txt");
    let lines = fs::read_to_string(&sound).unwrap();
    let evaluation = lines.lines().rfind(|line| line.contains("eval_accuracy")).unwrap();
    fs::write(&late, format!("{lines}{evaluation}\n")).unwrap();
    let late = late.to_str().unwrap();
    assert_eq!(exit(&[late, "--werror"]), Exit::Ok);
    assert_eq!(exit(&[late, "--strict"]), Exit::NotCompliant);
}

#[test]
fn json_has_the_promised_form() {
    let (sound, aborted) = (log("ok_open.txt"), log("ok_open_aborted.txt"));
    let (text, exit) = check(&[&sound, &aborted, "--json", "--ruleset", "0.7.0"]).unwrap();
    assert_eq!(exit, Exit::NotCompliant);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        answer,
        json!({
            "files": [
                {
                    "path": sound, "ruleset": "0.7.0", "benchmark": "resnet",
                    "division": "open",
                    "reference_accepts": true, "findings": [],
                },
                {
                    "path": aborted, "ruleset": "0.7.0", "benchmark": "resnet",
                    "division": "open",
                    "reference_accepts": false,
                    "findings": [
                        {
                            "code": "target-not-reached", "severity": "error",
                            "key": "eval_accuracy", "line": 38,
                            "message": "no eval_accuracy is at least 0.759 and below 1; the \
                                        best of 2 is 0.5; count the run as failed",
                        },
                        {
                            "code": "aborted", "severity": "advice", "key": "run_stop", "line": 41,
                            "message": "status is aborted; leave the run out of an open \
                                        submission, or disclose it",
                        },
                    ],
                },
            ],
            "accepted": 1,
            "rejected": 1,
        })
    );
}

/// A system's folder of runs: logs, and beside them one folder a run.
fn runs(manifest: &str) -> tempfile::TempDir {
    let system = tempfile::tempdir().unwrap();
    fs::create_dir_all(system.path().join("resnet")).unwrap();
    for number in ["2", "10"] {
        fs::copy(log("ok_open.txt"), system.path().join(format!("resnet/result_{number}.txt")))
            .unwrap();
    }
    fs::create_dir_all(system.path().join("run_2")).unwrap();
    fs::write(system.path().join("run_2/manifest.json"), manifest).unwrap();
    fs::write(system.path().join("run_2/rank_0.log"), "no log of MLPerf").unwrap();
    system
}

#[test]
fn a_folder_is_searched_and_each_run_is_judged_by_the_rules_of_its_manifest() {
    let system = runs(r#"{"ruleset": "2.0.0"}"#);
    let path = system.path().to_str().unwrap();
    let (text, exit) = check(&[path]).unwrap();
    assert_eq!(exit, Exit::Ok);
    insta::assert_snapshot!(text.replace(path, "SYSTEM"), @r"
    accepted  SYSTEM/resnet/result_2.txt  ruleset 2.0.0 (run_2/manifest.json), resnet, open, 2.68 min
    accepted  SYSTEM/resnet/result_10.txt  ruleset 4.0.0 (the latest with resnet; choose another with --ruleset), resnet, open, 2.68 min
    2 accepted, 0 rejected
    ");
    let named = check(&[path, "--ruleset", "1.1.0"]).unwrap().0;
    assert_eq!(named.matches("ruleset 1.1.0 (--ruleset)").count(), 2, "{named}");
}

#[test]
fn a_manifest_that_names_no_ruleset_leaves_the_default_and_a_wrong_one_is_refused() {
    let check_runs = |manifest: &str| {
        let system = runs(manifest);
        check(&[system.path().to_str().unwrap()])
    };
    assert!(
        check_runs("{}")
            .unwrap()
            .0
            .matches("ruleset 4.0.0 (the latest with resnet; choose another with --ruleset)")
            .count()
            == 2
    );
    for (manifest, words) in [
        (r#"{"ruleset": "9.0.0"}"#, "unknown ruleset \"9.0.0\""),
        (r#"{"ruleset": 2}"#, "unknown ruleset \"2\""),
        ("{", "is not a JSON object"),
    ] {
        let error = format!("{:#}", check_runs(manifest).unwrap_err().error);
        assert!(error.contains("run_2/manifest.json") && error.contains(words), "{error}");
    }
}

#[test]
fn what_cannot_be_read_ends_the_command() {
    let missing = failure(&["no/such/log"]);
    assert!(missing.starts_with("cannot read no/such/log (No such file"), "{missing}");
    assert!(missing.contains("name an existing log or folder"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(failure(&[path]), format!("no result_*.txt found below {path}; name a log"));
}

#[test]
fn a_code_is_explained() {
    insta::assert_snapshot!(check(&["--explain", "eval-after-stop"]).unwrap().0, @r"
    eval-after-stop (fault: rejects with --strict; the reference checker overlooks it)
    An evaluation is logged after run_stop, so its time does not count.
    Fix: stop the clock after the last evaluation.
    Source: training_rules: the clock runs from run_start to run_stop, and everything between counts.
    ");
}

#[test]
fn wrong_arguments_are_refused_with_the_ones_there_are() {
    let refuse = |arguments: &[&str]| {
        let Err(error) = Command::try_parse_from([&["check"], arguments].concat()) else {
            panic!("{arguments:?} were taken")
        };
        assert_eq!(error.exit_code(), Exit::Usage as i32);
        error.to_string()
    };
    let later = refuse(&["log", "--ruleset", "9.1.0"]);
    assert!(
        later.contains("unknown ruleset \"9.1.0\"") && later.contains("0.7.0, 1.0.0"),
        "{later}"
    );
    let unknown = check(&["--explain", "nonsense"]).unwrap_err();
    assert_eq!(unknown.exit, Exit::Usage);
    assert!(unknown.to_string().contains("add --benchmark BENCHMARK"), "{unknown}");
    assert!(refuse(&[]).contains("<PATH>"));
}

#[test]
fn the_rules_of_a_key_can_be_explained() {
    let explain = |arguments: &[&str]| check(&[&["--explain"], arguments].concat()).unwrap().0;
    let decay = ["opt_learning_rate_decay_steps", "--benchmark", "llama31_8b"];
    insta::assert_snapshot!(explain(&decay), @r"
    opt_learning_rate_decay_steps in ruleset 6.1.0

    llama31_8b, closed (compliance_checker/training_6.1.0/closed_llama31_8b.yaml)
      must occur once
      must be such that value = 1200000 - opt_learning_rate_warmup_steps
    ");
    let frequency = ["evaluation_frequency", "--benchmark", "flux1", "--ruleset", "5.1.0"];
    assert!(explain(&frequency).contains("must be 262144"));
    let unknown = check(&["--explain", "seed", "--benchmark", "alexnet"]).unwrap_err();
    assert!(unknown.to_string().contains("has no \"alexnet\"; use one of "), "{unknown}");
}

/// What was published about the time and the accuracy of five systems, averaged over their runs.
#[test]
fn time_and_curves_agree_with_the_published_ones() {
    let Some(folder) = std::env::var_os("MLPERF_RUN_LOGS").map(PathBuf::from) else {
        say("MLPERF_RUN_LOGS is not set: curves are not compared");
        return;
    };
    let curves = fs::read_to_string(folder.join("reference_curves.json")).unwrap();
    let curves: Value = serde_json::from_str(&curves).unwrap();
    for (name, logs) in [
        ("mosaicml-v2.0-methods-8xA100-80GB", "v2.0/MosaicML/results/8xA100_80GB-methods"),
        ("mosaicml-v2.0-baseline-8xA100-80GB", "v2.0/MosaicML/results/8xA100_80GB-baseline"),
        ("nvidia-v2.0-dgxa100-8xA100-80GB", "v2.0/NVIDIA/results/dgxa100_ngc22.04_mxnet"),
        ("nvidia-v4.0-h200-8xH200", "v4.0/NVIDIA/results/h200_ngc24.04_mxnet"),
    ] {
        let published = &curves[name];
        let resnet = folder.join("submissions").join(logs).join("resnet");
        let reports: Vec<_> = (0..5)
            .map(|run| check_file(&resnet.join(format!("result_{run}.txt")), Ruleset::V2_0_0))
            .map(Result::unwrap)
            .filter(|report| report.status.as_deref() == Some("success"))
            .collect();
        assert_eq!(reports.len() as u64, published["runs_used"].as_u64().unwrap(), "{name}");
        let mean = |of: &dyn Fn(&Report) -> f64| {
            reports.iter().map(of).sum::<f64>() / reports.len() as f64
        };
        let seconds = |kind: &str| -> Vec<f64> {
            published[kind].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
        };
        let near = |ours: f64, theirs: f64, what: &str| {
            assert!((ours - theirs).abs() < 0.01 * theirs, "{name}, {what}: {ours} {theirs}");
        };
        let timing = |report: &Report| report.timing.unwrap();
        let (epochs, evals) = (seconds("epoch_seconds_mean"), seconds("eval_seconds_mean"));
        near(mean(&|it| timing(it).first_epoch_s), epochs[0], "first epoch");
        near(mean(&|it| timing(it).epochs_s), epochs.iter().sum(), "epochs");
        near(mean(&|it| timing(it).first_eval_s), evals[0], "first evaluation");
        near(mean(&|it| timing(it).evals_s), evals.iter().sum(), "evaluations");
        for report in &reports {
            let timing = timing(report);
            assert_eq!(
                (timing.num_epochs, timing.num_evals),
                (epochs.len(), evals.len()),
                "{name}"
            );
            let gap = timing.gap_fraction().unwrap();
            assert!((0.0..0.06).contains(&gap), "{name}: {gap}");
        }
        for (epoch, accuracy) in published["accuracy_by_epoch"].as_object().unwrap() {
            let epoch: f64 = epoch.parse().unwrap();
            let at = |report: &Report| {
                let mut points = report.curve.points.iter();
                points.find(|point| point.position.total_cmp(&epoch).is_eq()).unwrap().accuracy
            };
            assert!(
                (mean(&at) - accuracy["mean"].as_f64().unwrap()).abs() < 1e-4,
                "{name} {epoch}"
            );
        }
    }
}
