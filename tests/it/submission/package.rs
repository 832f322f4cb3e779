//! From run folders to a submission that the reference accepts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mlperf_run::cli::exit::{Exit, Failure};
use mlperf_run::launch;
use mlperf_run::recipe::{self, Recipe, RunContext};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::tree::put;
use super::verify::package;
use crate::check::own_logs;

/// A folder with runs below `results`, and a source of the program in `source`.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        put(bench.root(), "source/Cargo.toml", "[package]\nname = \"mlperf-run\"\n");
        put(bench.root(), "source/src/lib.rs", "");
        bench
    }

    /// With five runs of the open division.
    fn open() -> Self {
        let bench = Self::new();
        (0..5).for_each(|number| bench.run(number, "ok_open.txt", number as u64));
        bench
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Leaves what a run leaves: `log` with an hour between starts, so many minutes longer.
    fn run(&self, number: usize, log: &str, minutes: u64) {
        let text = fs::read_to_string(own_logs().join(log)).unwrap();
        self.run_of(number, &text, minutes);
    }

    fn run_of(&self, number: usize, text: &str, minutes: u64) {
        let seed = 40 + number;
        let text = text.replace("\"value\": 1234", &format!("\"value\": {seed}"));
        let lines = text.lines().map(|line| {
            let (before, rest) = line.split_once("\"time_ms\": ").unwrap();
            let (time, after) = rest.split_once(',').unwrap();
            let longer = if line.contains("run_stop") { 60_000 * minutes } else { 0 };
            let time = time.parse::<u64>().unwrap() + 3_600_000 * number as u64 + longer;
            format!("{before}\"time_ms\": {time},{after}\n")
        });
        let run = format!("results/box/run_{number}");
        put(self.root(), &format!("{run}/mllog.txt"), &lines.collect::<String>());
        put(self.root(), &format!("{run}/recipe.toml"), &resolved(seed as u64));
        let division = if text.contains("\"value\": \"open\"") { "open" } else { "closed" };
        let manifest = manifest(seed, division).to_string();
        put(self.root(), &format!("{run}/manifest.json"), &manifest);
        fs::create_dir_all(self.path("results/box/resnet")).unwrap();
        let result = self.path(&format!("results/box/resnet/result_{number}.txt"));
        fs::hard_link(self.path(&format!("{run}/mllog.txt")), result).unwrap();
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.path(path), text.replace(from, to)).unwrap();
    }

    /// Changes the manifests of all runs.
    fn edit_all(&self, from: &str, to: &str) {
        for run in self.path("results/box").read_dir().unwrap() {
            let run = run.unwrap().file_name().into_string().unwrap();
            if run.starts_with("run_") {
                self.edit(&format!("results/box/{run}/manifest.json"), from, to);
            }
        }
    }

    fn package(&self, arguments: &[&str]) -> Result<(String, Exit), Failure> {
        let [dir, out, source] = ["results/box", "out_v4.0", "source"].map(|name| self.path(name));
        let mut all = vec![dir.to_str().unwrap(), "--out", out.to_str().unwrap()];
        if !arguments.contains(&"--source") {
            all.extend(["--source", source.to_str().unwrap()]);
        }
        all.extend(arguments);
        package(&all)
    }

    /// Asserts that nothing is written, and gives the error.
    fn refused(&self, exit: Exit, arguments: &[&str]) -> String {
        let before = files(self.root());
        let failure = self.package(arguments).unwrap_err();
        assert_eq!(failure.exit, exit, "{failure}");
        assert_eq!(files(self.root()), before, "something was left behind");
        failure.to_string().replace(self.root().canonicalize().unwrap().to_str().unwrap(), "DIR")
    }

    fn submission(&self) -> PathBuf {
        self.path("out_v4.0/unverified-not-a-submission")
    }

    fn description(&self) -> Value {
        let text = fs::read_to_string(self.submission().join("systems/box.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

fn resolved(seed: u64) -> String {
    let source = recipe::find("demo/optimized").unwrap();
    let mut file = recipe::load(&source, &["optimizer.lr=1.25".into()]).unwrap();
    file.run.seed = Some(seed);
    file.train_on(Path::new("/somewhere"));
    let run_context =
        RunContext { world_size: 2, num_classes: 16, num_train: 3200, num_eval: 1600 };
    Recipe::resolve(file, &run_context).unwrap().to_toml()
}

fn manifest(seed: usize, division: &str) -> Value {
    json!({
        "ruleset": "4.0.0",
        "division": division,
        "recipe": { "name": "demo/optimized", "sha256": format!("{seed}") },
        "seed": seed,
        "world_size": 2,
        "device": "cpu",
        "data_set": {
            "path": "/somewhere",
            "num_train": 3200,
            "num_eval": 1600,
            "num_classes": 16,
            "listing_sha256": "aa",
        },
        "libtorch": "2.11.0+cpu",
        "commit": null,
        "program": { "path": "/bin/mlperf-rank", "sha256": "bb" },
        "host": launch::host_name(),
        "argv": [],
        "started": "2026-01-01T00:00:00+00:00",
    })
}

/// All that lies below a folder, sorted.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in next.read_dir().unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(folder).unwrap().display().to_string());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn runs_become_a_submission_that_the_reference_accepts() {
    let bench = Bench::open();
    let (text, exit) = bench.package(&[]).unwrap();
    assert_eq!(exit, Exit::Ok, "{text}");
    insta::assert_snapshot!("package_tree", files(&bench.path("out_v4.0")).join("\n"));
    assert_eq!(bench.description().as_object().unwrap().len(), 33);
    assert_eq!(judged_by_the_reference(&bench), "accepted\taccepted\taccepted");
    let out = bench.path("out_v4.0");
    let (text, exit) = package(&["--verify", "--strict", out.to_str().unwrap()]).unwrap();
    assert_eq!(exit, Exit::Ok, "{text}");
}

#[test]
fn closed_runs_that_converge_as_the_reference_become_a_submission_too() {
    let bench = Bench::new();
    let text = fs::read_to_string(own_logs().join("ok_closed_lars.txt")).unwrap();
    let text = text.replace("\"epoch_num\": 8}", "\"epoch_num\": 35}");
    (0..5).for_each(|number| bench.run_of(number, &text, 1));
    let (text, exit) = bench.package(&["--json"]).unwrap();
    assert_eq!(exit, Exit::Ok, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let score = &answer["verdict"]["systems"][0]["score"];
    assert!(score["rcp"]["scaling_factor"].as_f64().unwrap() > 1.0, "{score}");
    assert_eq!(bench.description()["division"], "closed");
    assert_eq!(judged_by_the_reference(&bench), "accepted\taccepted\taccepted");
    // The package checker has written the factor into the tree, as it does.
    let out = bench.path("out_v4.0");
    assert!(bench.submission().join("results/box/resnet/scaling.json").exists());
    let (text, exit) = package(&["--verify", "--strict", out.to_str().unwrap()]).unwrap();
    assert_eq!(exit, Exit::Ok, "{text}");
}

/// What package checker, seed checker and repository checker say.
fn judged_by_the_reference(bench: &Bench) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/mlcommons");
    let mut oracle = Command::new(script);
    let output = oracle.args(["--packages", "4.0.0"]).arg(bench.submission()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let verdict = said.trim_end().rsplit_once('\t');
    verdict.unwrap_or_else(|| panic!("the oracle does not work: {output:?}")).0.to_owned()
}

#[test]
fn hashes_and_archive_are_what_coreutils_and_tar_read() {
    let bench = Bench::open();
    bench.package(&[]).unwrap();
    let check = |folder: &Path, list: &str| {
        let mut sum = Command::new("sha256sum");
        let output = sum.args(["--check", "--quiet", list]).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    check(&bench.submission(), "SHA256SUMS");
    let out = bench.path("out_v4.0");
    let archive = "unverified-not-a-submission.tar.gz";
    check(&out, &format!("{archive}.sha256"));
    let unpacked = bench.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let mut tar = Command::new("tar");
    let status = tar.arg("xzf").arg(out.join(archive)).current_dir(&unpacked).status().unwrap();
    assert!(status.success());
    let unpacked = unpacked.join("unverified-not-a-submission");
    assert_eq!(files(&unpacked), files(&bench.submission()));
    check(&unpacked, "SHA256SUMS");
}

#[test]
fn the_same_runs_give_the_same_archive() {
    let bench = Bench::open();
    let sha256 = || {
        let (text, _) = bench.package(&["--json"]).unwrap();
        fs::remove_dir_all(bench.path("out_v4.0")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["sha256"].clone()
    };
    assert_eq!(sha256(), sha256());
}

#[test]
fn of_more_runs_the_median_window_is_taken_in_the_order_of_time() {
    let bench = Bench::new();
    // Windows of five: 0..5 scores 3 above the rest, 1..6 scores 4, 2..7 scores 5.
    for (number, minutes) in [1, 2, 3, 4, 5, 6, 7].into_iter().enumerate() {
        bench.run(number, "ok_open.txt", minutes);
    }
    let (text, _) = bench.package(&["--json"]).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    let runs = answer["systems"][0]["runs"].as_array().unwrap();
    let taken: Vec<_> = runs.iter().map(|run| run["taken"].as_bool().unwrap()).collect();
    assert_eq!(taken, [false, true, true, true, true, true, false]);
    for number in 0..5 {
        let result = format!("results/box/resnet/result_{number}.txt");
        let submitted = fs::read(bench.submission().join(&result)).unwrap();
        let run = bench.path(&format!("results/box/run_{}/mllog.txt", number + 1));
        assert_eq!(submitted, fs::read(run).unwrap());
    }
}

#[test]
fn runs_that_replace_a_failed_one_are_not_refused_for_their_number() {
    let bench = Bench::open();
    bench.edit("results/box/run_4/recipe.toml", "runs = 1", "runs = 3");
    let (text, exit) = bench.package(&[]).unwrap();
    assert_eq!(exit, Exit::Ok, "{text}");
}

#[test]
fn single_runs_can_be_named() {
    let bench = Bench::open();
    bench.run(5, "ok_open_aborted.txt", 0);
    let runs: Vec<_> = (0..5).map(|n| bench.path(&format!("results/box/run_{n}"))).collect();
    let [out, source] = ["out", "source"].map(|name| bench.path(name));
    let mut arguments: Vec<_> = runs.iter().map(|run| run.to_str().unwrap()).collect();
    arguments.extend(["--out", out.to_str().unwrap(), "--source", source.to_str().unwrap()]);
    let (text, exit) = package(&arguments).unwrap();
    assert!(exit == Exit::Ok && !text.contains("aborted"), "{text}");
}

#[test]
fn a_description_is_completed_by_the_machine_and_has_the_words_of_the_round() {
    let bench = Bench::open();
    bench.edit_all("4.0.0", "3.0.0");
    bench
        .package(&["--description", "example", "--submitter", "Unverified, not a submission"])
        .unwrap();
    let submission = bench.path("out_v4.0/Unverified-not-a-submission");
    let text = fs::read_to_string(submission.join("systems/box.json")).unwrap();
    let description: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(description["status"], "research");
    assert_eq!(description["submitter"], "Unverified, not a submission");
    assert_eq!(description["system_name"], "example");
    assert_eq!(description["other_software_stack"], "libtorch 2.11.0+cpu");
    assert_ne!(description["operating_system"], "");
    assert_eq!(description["cooling"], "");
}

#[test]
fn what_a_person_should_know_is_noted() {
    let bench = Bench::open();
    bench.edit_all("\"cpu\"", "\"cuda\"");
    let text = fs::read_to_string("configs/systems/example.toml").unwrap();
    let written = bench.path("system.toml");
    fs::write(&written, text.replace("\"open\"", "\"closed\"")).unwrap();
    let (text, _) = bench.package(&["--description", written.to_str().unwrap()]).unwrap();
    assert!(
        text.contains("note: box: the description's division is now open, like the runs'"),
        "{text}"
    );
    assert!(
        text.contains("note: box: the runs used 2 GPUs, which is not number_of_nodes times"),
        "{text}"
    );
    assert!(text.contains("note: source: a folder that is not a git repository"), "{text}");
}

#[test]
fn the_scripts_and_the_recipe_of_a_submission_work() {
    let bench = Bench::open();
    bench.edit_all(
        "\"listing_sha256\"",
        "\"synth\":{\"num_classes\":16,\"num_train\":64,\"num_eval\":16,\
        \"size\":64,\"difficulty\":0.5,\"seed\":3},\"listing_sha256\"",
    );
    let source = bench.path("source");
    put(&source, ".cargo/config.toml", "");
    put(&source, "scripts/setup", "#!/bin/sh\ncat .cargo/config.toml && echo set up \"$@\"\n");
    let git = |arguments: &[&str]| {
        let name = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"];
        let mut git = Command::new("git");
        let output = git.arg("-C").arg(&source).args(name).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "one"]);
    bench.package(&[]).unwrap();
    let folder = bench.submission().join("benchmarks/resnet/implementations/mlperf-run");
    let setup = Command::new(folder.join("setup.sh")).arg("--gpu").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&setup.stdout), "set up --gpu\n", "{setup:?}");

    let program = Path::new(env!("CARGO_BIN_EXE_mlperf-run"));
    let paths =
        std::env::join_paths([program.parent().unwrap(), "/bin".as_ref(), "/usr/bin".as_ref()])
            .unwrap();
    let script = |name: &str, arguments: &[&str]| {
        let mut script = Command::new(folder.join(name));
        script.args(arguments).env("PATH", &paths).env("MLPERF_RUN_CACHE", bench.path("cache"));
        let output = script.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let images = script("init_datasets.sh", &[]);
    assert!(Path::new(images.trim()).join("train").is_dir(), "{images}");
    let plan = script("run_and_time.sh", &["box", "--dry-run"]);
    assert!(plan.contains("runs = 5") && plan.contains("[data.synth]"), "{plan}");
    assert!(!plan.contains("/somewhere"), "{plan}");
}

#[test]
fn runs_that_make_no_submission_are_refused_and_nothing_is_left() {
    let too_few = Bench::new();
    (0..3).for_each(|number| too_few.run(number, "ok_open.txt", 1));
    let error = too_few.refused(Exit::Invalid, &[]);
    assert!(error.contains("box has 3 complete runs") && error.contains("--runs 2"), "{error}");

    let bench = Bench::new();
    fs::create_dir_all(bench.path("results/box")).unwrap();
    assert!(bench.refused(Exit::Invalid, &[]).starts_with("no run found in "));

    for (message, change) in DAMAGES {
        let bench = Bench::open();
        change(&bench);
        let error = bench.refused(Exit::Invalid, &[]);
        assert!(error.contains(message), "{message}: {error}");
    }
}

/// What the error says, and what was done to five sound runs.
type Damage = (&'static str, fn(&Bench));

const DAMAGES: &[Damage] = &[
    ("lacks run_start or run_stop", |bench| {
        bench.edit("results/box/run_2/mllog.txt", "\"run_stop\"", "\"stopped\"");
    }),
    ("optimizer.lr is 1.25 there and 1.5 here", |bench| {
        bench.edit("results/box/run_2/recipe.toml", "lr = 1.25", "lr = 1.5");
    }),
    ("recipe is demo/optimized there and demo/other here", |bench| {
        bench.edit("results/box/run_2/manifest.json", "demo/optimized", "demo/other");
    }),
    ("program (sha256) is bb there and cc here", |bench| {
        bench.edit("results/box/run_2/manifest.json", "\"bb\"", "\"cc\"");
    }),
    ("commit is unknown there and abc here", |bench| {
        bench.edit("results/box/run_2/manifest.json", "\"commit\":null", "\"commit\":\"abc\"");
    }),
    ("run_2 goes on with an interrupted run", |bench| {
        let resumed = "\"commit\":null,\"resumed\":{\"run\":\"results/box/run_0\",\"step\":74}";
        bench.edit("results/box/run_2/manifest.json", "\"commit\":null", resumed);
    }),
    ("mllog.txt has seed 41, manifest.json 42", |bench| {
        fs::copy(bench.path("results/box/run_1/mllog.txt"), bench.path("results/box/x")).unwrap();
        fs::rename(bench.path("results/box/x"), bench.path("results/box/run_2/mllog.txt")).unwrap();
    }),
    ("mllog.txt has other lines than resnet/result_2.txt", |bench| {
        let result = bench.path("results/box/resnet/result_2.txt");
        fs::remove_file(&result).unwrap();
        fs::write(result, "").unwrap();
    }),
    ("manifest.json is damaged", |bench| {
        put(bench.root(), "results/box/run_2/manifest.json", "{");
    }),
    ("cannot read DIR/results/box/run_2/recipe.toml", |bench| {
        fs::remove_file(bench.path("results/box/run_2/recipe.toml")).unwrap();
    }),
    ("box has no description, and its runs were made on elsewhere", |bench| {
        bench.edit_all(&format!("\"{}\"", launch::host_name()), "\"elsewhere\"");
    }),
    ("5.0.0", |bench| bench.edit_all("4.0.0", "5.0.0")),
    ("is not the source of mlperf-run", |bench| {
        fs::remove_dir_all(bench.path("source")).unwrap();
    }),
];

#[test]
fn systems_of_two_rounds_are_refused_and_of_one_share_a_submission() {
    let bench = Bench::open();
    let twin = bench.path("results/twin");
    let mut copy = Command::new("cp");
    assert!(copy.arg("-r").arg(bench.path("results/box")).arg(&twin).status().unwrap().success());
    bench.edit_all("4.0.0", "3.1.0");
    let error = bench.refused(Exit::Invalid, &[twin.to_str().unwrap()]);
    assert!(error.contains("the ruleset of box is 3.1.0, of twin 4.0.0"), "{error}");
    bench.edit_all("3.1.0", "4.0.0");
    bench.package(&[twin.to_str().unwrap()]).unwrap();
    let systems = files(&bench.submission().join("systems"));
    assert_eq!(systems, ["box.json", "twin.json"]);
    assert_eq!(judged_by_the_reference(&bench), "accepted\taccepted\taccepted");
}

#[test]
fn a_place_that_is_taken_and_a_description_that_is_not_there_are_refused() {
    let bench = Bench::open();
    let error = bench.refused(Exit::Invalid, &["--description", "nobody-wrote-this"]);
    assert!(error.contains("no system description is called \"nobody-wrote-this\""), "{error}");
    let written = bench.path("system.toml");
    fs::write(&written, "submitter = \"x\"\ncooling = \"air\"\n").unwrap();
    let error = bench.refused(Exit::Invalid, &["--description", written.to_str().unwrap()]);
    assert!(error.contains("missing division, status, system_name, "), "{error}");
    fs::create_dir(bench.path("out_v4.0")).unwrap();
    assert!(bench.refused(Exit::Invalid, &[]).contains("exists already"));
    assert!(package(&["results/box"]).is_err_and(|failure| failure.exit == Exit::Usage));
}

#[test]
fn closed_runs_on_images_of_the_open_division_are_refused() {
    for (images, reason) in [
        ("\"store_division\":\"open-only\"", "a store of shrunk images"),
        (
            "\"synth\":{\"num_classes\":4,\"num_train\":8,\"num_eval\":4,\"size\":64,\
             \"difficulty\":0.5,\"seed\":3}",
            "the built-in image set",
        ),
    ] {
        let bench = Bench::new();
        (0..5).for_each(|number| bench.run(number, "ok_closed_lars.txt", 1));
        bench.edit_all("\"listing_sha256\"", &format!("{images},\"listing_sha256\""));
        let error = bench.refused(Exit::Invalid, &[]);
        assert!(error.contains(reason), "{error}");
    }
}

/// Of the runs of one system, not of the first one alone.
#[test]
fn runs_on_several_stores_are_no_system() {
    let bench = Bench::new();
    (0..5).for_each(|number| bench.run(number, "ok_closed_lars.txt", 1));
    let store = "\"store_division\":\"closed-safe\",\"store_sha256\":\"aa\"";
    bench.edit_all("\"listing_sha256\"", &format!("{store},\"listing_sha256\""));
    let last = "results/box/run_4/manifest.json";
    bench.edit(last, "\"store_sha256\":\"aa\"", "\"store_sha256\":\"bb\"");
    let error = bench.refused(Exit::Invalid, &[]);
    assert!(error.contains("store (sha256 of its manifest)"), "{error}");
    bench.edit(last, "\"store_sha256\":\"bb\"", "\"store_sha256\":\"aa\"");
    bench.edit(last, "closed-safe", "open-only");
    let error = bench.refused(Exit::Invalid, &[]);
    assert!(error.contains("run_4") && error.contains("a store of shrunk images"), "{error}");
}

#[test]
fn a_submission_that_would_be_rejected_is_not_written() {
    let bench = Bench::new();
    (0..5).for_each(|number| bench.run(number, "ok_closed_lars.txt", 1));
    let error = bench.refused(Exit::NotCompliant, &[]);
    assert!(error.contains("would be rejected"), "{error}");
}
