//! The page on a run, from the launcher and from `mlperf-run report`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mlperf_run::events::{RankEvent, Spent};
use serde_json::Value;

use super::stage::{Stage, Told};
use crate::check::say;

const LOG: &str = include_str!("../../logs/ok_open.txt");
const CLOSED: &str = include_str!("../../logs/ok_closed_lars.txt");

/// A rank that leaves all that a report shows.
pub(super) const FULL: &str = r#"
[ "$RANK" = 0 ] || exit 0
run_start
cat "$STAGE/events"
cp "$STAGE/log" "$run_dir/mllog.txt"
cat "$STAGE/run_stop_success"
"#;

/// A stage for [`FULL`].
pub(super) fn full_stage() -> Stage {
    let stage = Stage::with_ranks(FULL);
    stage.put("log", LOG);
    let lines: Vec<String> = events().iter().map(|event| event.to_line() + "\n").collect();
    stage.put("events", &lines.concat());
    stage
}

/// Two epochs of four steps.
fn events() -> Vec<RankEvent> {
    let time = Spent { io_wait_s: 1.0, decode_wait_s: 0.5, copy_wait_s: 0.25, compute_s: 58.25 };
    let epochs = (1..=2).flat_map(|epoch| {
        let steps = (1..=4).map(move |step| RankEvent::Steps {
            epoch,
            step,
            loss: 3.0 / epoch as f64,
            images_per_s: 800.0,
            time,
        });
        let ends = [
            RankEvent::EpochStop {
                epoch,
                loss: 2.875 / epoch as f64,
                train_s: 60.0,
                images_per_s: 812.0,
                data_wait: 0.025,
                time,
                image_size: 64 * epoch,
            },
            RankEvent::Evaluated {
                epoch,
                accuracy: 0.4 * epoch as f64,
                num_right: 6,
                num_images: 16,
                eval_s: 0.5,
                statistics_s: 0.0,
            },
        ];
        steps.chain(ends).collect::<Vec<_>>()
    });
    epochs.collect()
}

/// The page on `paths`.
fn page(stage: &Stage, paths: &[&str]) -> String {
    let args = [&["report"], paths, &["-o", "page.html"]].concat();
    let told = Told::of(stage.command(&args).output().unwrap());
    told.expect(0, &[]);
    assert_eq!(told.stdout, "page.html\n");
    stage.read("page.html")
}

/// Accuracies of a log, as a page writes them.
fn accuracies(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("\"eval_accuracy\""));
    let values = lines.map(|line| {
        let value = line.split("\"value\": ").nth(1).unwrap().split(',').next().unwrap();
        format!("{:.2} %", 100.0 * value.parse::<f64>().unwrap())
    });
    values.collect()
}

#[test]
fn a_run_ends_with_the_path_of_its_report() {
    let stage = full_stage();
    let told = stage.train(&[]);
    told.expect(0, &[]);
    assert!(told.stderr.ends_with("report: results/box/run_0/report.html\n"), "{told:#?}");
    let page = stage.read("results/box/run_0/report.html");
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    for part in ["Accuracy over minutes", "Images per second", "Training loss", "64", "128"] {
        assert!(page.contains(part), "{part} is missing");
    }
    for link in ["<script", "href=\"http", "src=", "url(", "@import"] {
        assert!(!page.contains(link), "{link}: the page must need nothing else");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_warning() {
    let stage = Stage::with_ranks(&format!("mkdir -p \"$4/report.html\"\n{FULL}"));
    stage.put("log", LOG);
    stage.put("events", "");
    let told = stage.train(&[]);
    told.expect(0, &["warning: no report: cannot write"]);
    assert!(!told.stderr.contains("\nreport:"), "{told:#?}");
}

#[test]
fn a_failed_run_has_a_report_that_says_why() {
    let script = r#"[ "$RANK" = 0 ] && run_start && failed internal "the disk of <rank 0> burns" && exit 1
                    sleep 60"#;
    let stage = Stage::with_ranks(script);
    stage.train(&[]).expect(6, &["the disk of <rank 0> burns"]);
    let page = stage.read("results/box/run_0/report.html");
    assert!(page.contains("No result: no accuracy was measured, 1 run"), "{page}");
    assert!(page.contains("rank 0: the disk of &lt;rank 0&gt; burns"), "{page}");
}

#[test]
fn five_runs_are_compared_on_one_small_page() {
    let stage = full_stage();
    stage.train(&["--runs", "5"]).expect(0, &[]);
    let page = page(&stage, &["results"]);
    assert!(page.len() < 500_000, "{} bytes", page.len());
    assert!(page.contains("olympic mean") && page.contains(", 5 runs</title>"), "{page}");
    for run in ["run_0", "run_1", "run_2", "run_3", "run_4"] {
        assert!(page.contains(&format!("<td class=\"w\">{run}</td>")), "{run}");
    }
}

#[test]
fn every_accuracy_of_a_chart_is_in_a_table() {
    let stage = Stage::with_ranks("");
    stage.put("v2.0/Somebody/results/box/resnet/result_0.txt", LOG);
    stage.put("v2.0/Somebody/results/other/resnet/result_0.txt", CLOSED);
    let page = page(&stage, &["v2.0"]);
    let accuracies = [accuracies(LOG), accuracies(CLOSED)].concat();
    assert!(accuracies.len() > 3, "{accuracies:?}");
    for accuracy in accuracies {
        assert!(page.contains(&format!("<td class=\"n\">{accuracy}</td>")), "{accuracy}");
    }
    assert!(page.contains("the fastest of 2 systems"), "{page}");
}

#[test]
fn the_numbers_are_also_csv() {
    let stage = full_stage();
    stage.train(&[]).expect(0, &[]);
    page(&stage, &["results", "--csv", "numbers"]);
    let rows = |name: &str| -> Vec<csv::StringRecord> {
        let mut reader = csv::Reader::from_path(stage.path(&format!("numbers/{name}"))).unwrap();
        reader.records().map(Result::unwrap).collect()
    };
    let runs = rows("runs.csv");
    assert_eq!((runs.len(), &runs[0][0], &runs[0][1]), (1, "box", "run_0"));
    assert_eq!(rows("evaluations.csv").len(), accuracies(LOG).len());
    let epochs = rows("epochs.csv");
    assert_eq!((&epochs[0][5], &epochs[0][6]), ("812", "64"));
    assert_eq!(&epochs[0][9], "2.875");
}

#[test]
fn what_has_no_runs_is_an_error() {
    let stage = Stage::with_ranks("");
    stage.put("empty/file", "");
    stage.put("v5.1/A/results/box/resnet/result_0.txt", &LOG.replace("\"resnet\"", "\"bert\""));
    for (path, words) in [
        ("nowhere", "name an existing run"),
        ("empty", "has no run_N and no result_*.txt"),
        ("v5.1", "has no ResNet log"),
    ] {
        let told = Told::of(stage.command(&["report", path]).output().unwrap());
        told.expect(3, &[words]);
        assert!(!stage.path("report.html").exists());
    }
}

/// The Python of `scripts/oracle/setup-report-peers`; `None`, with a line that says so, where it is not
/// installed.
pub(crate) fn peers(what: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".peers/report/bin/python");
    if root.join(".peers/report/whole").is_file() {
        return Some(python);
    }
    say(&format!("skipping {what}: scripts/oracle/setup-report-peers has not installed it"));
    None
}

#[test]
fn pages_are_sound_in_a_browser() {
    let Some(python) = peers("the test of reports in Chromium") else { return };
    let stage = full_stage();
    stage.train(&["--runs", "3"]).expect(0, &[]);
    let logs = "v2.0/Somebody/results/a-system-with-a-long-name/resnet";
    for run in 0..3 {
        stage.put(&format!("{logs}/result_{run}.txt"), if run == 2 { CLOSED } else { LOG });
    }
    fs::write(stage.path("own.html"), page(&stage, &["results"])).unwrap();
    fs::write(stage.path("foreign.html"), page(&stage, &["v2.0"])).unwrap();
    fs::write(stage.path("both.html"), page(&stage, &["v2.0", "results"])).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/report.py");
    let pages = ["own.html", "foreign.html", "both.html"].map(|name| stage.path(name));
    let output = Command::new(python).arg(script).args(&pages).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let views: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(views.len(), 4 * pages.len(), "{complaint}");
    for view in views {
        let empty = ["messages", "requests", "faint"];
        for list in empty {
            assert_eq!(view[list], Value::Array(Vec::new()), "{list}: {view:#}");
        }
        assert_eq!((&view["sideways"], &view["scripts"]), (&0.into(), &0.into()), "{view:#}");
        let charts = view["charts"].as_array().unwrap();
        assert!(charts.len() >= 4 && view["num_texts"].as_u64().unwrap() > 50, "{view:#}");
        for chart in charts {
            assert_eq!(chart["role"], "img", "{chart:#}");
            let names = chart["names"].as_array().unwrap();
            assert!(
                names.len() == 2 && names.iter().all(|it| it.as_str() != Some("")),
                "{chart:#}"
            );
            assert!(chart["marks"].as_u64().unwrap() > 0, "{chart:#}");
            assert_eq!(chart["visible"], true, "{chart:#}");
            assert_eq!(chart["outside"], Value::Array(Vec::new()), "{chart:#}");
        }
    }
}
