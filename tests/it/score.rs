//! Scores: agreement with the reference's recorded ones, and the command.
//!
//! `MLPERF_RUN_LOGS` names a corpus with `verdicts.json` (`packages[FOLDER]`); without it only our
//! own logs are scored.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use mlperf_run::cli::exit::{Exit, Failure};
use mlperf_run::cli::score::{ScoreArgs, answer};
use serde_json::Value;

use crate::check::{own_logs, say};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ScoreArgs,
}

fn score(arguments: &[&str]) -> Result<(String, Exit), Failure> {
    answer(&Command::try_parse_from([&["score"], arguments].concat()).unwrap().args)
}

fn scored(folder: &Path, ruleset: &str) -> Vec<Value> {
    let folder = folder.to_str().unwrap();
    let (text, _) = score(&[folder, "--ruleset", ruleset, "--json"]).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["systems"].as_array().unwrap().clone()
}

fn agree(ours: &Value, theirs: &Value, what: &str) {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => {
            assert!((ours - theirs).abs() < 1e-4, "{what}: {ours} {theirs}");
        }
        (ours, theirs) => assert_eq!(ours, theirs, "{what}"),
    }
}

#[test]
fn scores_and_convergence_agree_with_the_reference_on_every_folder() {
    let Some(folder) = std::env::var_os("MLPERF_RUN_LOGS").map(PathBuf::from) else {
        say("MLPERF_RUN_LOGS is not set: the reference's scores are not compared");
        return;
    };
    let verdicts = fs::read_to_string(folder.join("verdicts.json")).unwrap();
    let verdicts: Value = serde_json::from_str(&verdicts).unwrap();
    let (mut num_systems, mut num_converged) = (0, 0);
    for (name, package) in verdicts["packages"].as_object().unwrap() {
        let systems = scored(&folder.join(name), package["ruleset"].as_str().unwrap());
        assert_eq!(systems.len(), package["systems"].as_object().unwrap().len(), "{name}");
        for ours in systems {
            let system = ours["system"].as_str().unwrap();
            let theirs = &package["systems"][system];
            agree(&ours["olympic_minutes"], &theirs["score"]["score"], name);
            let minutes = |file: &Value| {
                let path = Path::new(file["file"].as_str().unwrap()).file_name().unwrap();
                &theirs["score"]["runs"][path.to_str().unwrap()]
            };
            for run in ours["runs"].as_array().unwrap() {
                assert_eq!(run["compliant"].as_bool().unwrap(), !minutes(run).is_null(), "{run}");
                if run["compliant"] == true {
                    agree(&run["minutes"], minutes(run), name);
                }
            }
            // The summarizer itself stops at descriptions that lack a member.
            let after = &package["summarizer_after_package_checker"]["scores"][system];
            if !after.is_null() {
                agree(&ours["scaled_minutes"], after, name);
            }
            let factor = package["scaling_written"][system].as_f64().unwrap_or(1.0);
            num_converged += usize::from(convergence_agrees(&ours, theirs, factor, name));
            num_systems += 1;
        }
    }
    say(&format!("{num_systems} systems compared, {num_converged} of them in convergence"));
    assert!(num_systems >= 20 && num_converged >= 12);
}

/// Whether there was something to compare: the reference's tool alone tests open folders as well.
fn convergence_agrees(ours: &Value, theirs: &Value, factor: f64, name: &str) -> bool {
    let (rcp, theirs) = (&ours["rcp"], &theirs["pruned_rcps"]);
    if rcp.is_null() {
        assert!(ours["division"] == "open" || ours["ruleset"] == "0.7.0", "{name}");
        return false;
    }
    agree(&rcp["mean"], &theirs["mean_epochs"], name);
    for (our_name, their_name) in
        [("reference_mean", "mean"), ("reference_stdev", "stdev"), ("min", "min_epochs")]
    {
        agree(&rcp[our_name], &theirs["record"][their_name], name);
    }
    let passed = theirs["result"].as_str().is_some_and(|result| result.ends_with("PASSED"));
    assert_eq!(rcp["passed"], passed, "{name}: {rcp}");
    let ours = rcp["scaling_factor"].as_f64().unwrap_or(1.0);
    assert!((ours - factor).abs() < 1e-9, "{name}: {ours} {factor}");
    true
}

/// A submission of five runs of our own logs, each a minute longer than the one before.
fn submission(log: &str, division: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let resnet = root.path().join("Somebody/results/box/resnet");
    fs::create_dir_all(&resnet).unwrap();
    fs::create_dir_all(root.path().join("Somebody/systems")).unwrap();
    let text = fs::read_to_string(own_logs().join(log)).unwrap();
    let stop = text.lines().last().unwrap();
    let time = stop.split_once("\"time_ms\": ").unwrap().1.split_once(',').unwrap().0;
    for number in 0..5 {
        let later = (time.parse::<u64>().unwrap() + 60_000 * number).to_string();
        let text = text.replace(stop, &stop.replace(time, &later));
        fs::write(resnet.join(format!("result_{number}.txt")), text).unwrap();
    }
    let description = format!(
        r#"{{"submitter": "Somebody", "division": "{division}", "system_name": "box, \"big\"",
            "number_of_nodes": 1.0, "accelerators_per_node": "8", "host_processors_per_node": "2",
            "hw_notes": "", "sw_notes": "none"}}"#
    );
    fs::write(root.path().join("Somebody/systems/box.json"), description).unwrap();
    root
}

fn text(root: &tempfile::TempDir, arguments: &[&str]) -> (String, Exit) {
    let path = root.path().to_str().unwrap();
    score(&[&[path], arguments].concat()).unwrap()
}

#[test]
fn the_command_shows_runs_mean_and_score() {
    let (text, exit) = text(&submission("ok_open.txt", "open"), &["--leaders"]);
    assert_eq!(exit, Exit::Ok);
    insta::assert_snapshot!("score_open", text);
}

#[test]
fn the_command_shows_where_the_time_went() {
    let (text, _) = text(&submission("ok_open.txt", "open"), &["--timing"]);
    insta::assert_snapshot!("score_timing", text);
}

#[test]
fn a_submission_that_converges_too_fast_ends_with_4_and_says_why() {
    let (text, exit) = text(&submission("ok_closed_lars.txt", "closed"), &[]);
    assert_eq!(exit, Exit::NotCompliant);
    insta::assert_snapshot!("score_closed", text);
}

#[test]
fn nothing_is_written_unless_asked() {
    let root = submission("ok_closed_lars.txt", "closed");
    let resnet = root.path().join("Somebody/results/box/resnet");
    fs::write(resnet.join("scaling.json"), r#"{"scaling_factor": 7.0}"#).unwrap();
    let names = || resnet.read_dir().unwrap().count();
    let first = text(&root, &["--json"]);
    assert_eq!((first, names()), (text(&root, &["--json"]), 6), "a factor in the tree was read");
    text(&root, &["--write-scaling"]);
    assert_eq!(names(), 5, "a stale factor stays");
}

#[test]
fn csv_has_the_columns_of_the_reference() {
    let root = submission("ok_open.txt", "open");
    let (text, _) = text(&root, &["--csv", "--ruleset", "2.0.0"]);
    insta::assert_snapshot!("score_csv", text);
}

#[test]
fn the_reference_points_are_shown_without_a_folder() {
    insta::assert_snapshot!("rcp_table", score(&["--rcp-table"]).unwrap().0);
    let failure = score(&["--rcp-table", "--ruleset", "0.7.0"]).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
}

#[test]
fn a_folder_without_results_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let failure = score(&[folder.path().to_str().unwrap()]).unwrap_err();
    assert_eq!(failure.exit, Exit::Invalid);
    assert!(failure.to_string().starts_with("no result_*.txt found below"), "{failure}");
}
