//! What a run leaves behind, and what it is told.

use std::{fs::File, process::Stdio};

use mlperf_run::{events::RunSummary, recipe};

use super::stage::{GOOD, Stage, Told};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_run_folder_holds_all_that_the_run_was_made_from_and_said() {
    let script = r#"echo "a library speaks"; [ "$RANK" = 0 ] && run_start && run_stop success
                    exit 0"#;
    let stage = Stage::with_ranks(script);
    stage.train(&[]).expect(0, &[]);
    let run = |name: &str| stage.read(&format!("results/box/run_0/{name}"));
    assert_eq!(run("mllog.txt"), stage.read("results/box/resnet/result_0.txt"));
    assert_eq!(run("events.jsonl").lines().count(), 2);
    assert_eq!(run("rank-0.log"), "a library speaks\n");
    assert_eq!(run("rank-1.log"), "a library speaks\n");
    let summary: RunSummary = serde_json::from_str(&run("summary.json")).unwrap();
    assert_eq!((summary.recipe.as_str(), summary.seed), ("recipe", 17));
    assert_eq!(summary.minutes_to_target(), Some(1.25));
    assert!(!summary.log_check.unwrap().accepted, "a log of one line breaks rules");
    let manifest = json(&run("manifest.json"));
    assert_eq!(manifest["ruleset"], "4.0.0");
    assert_eq!(manifest["division"], "open");
    assert_eq!(manifest["seed"], 17);
    assert_eq!(manifest["world_size"], 2);
    assert_eq!(manifest["libtorch"], "2.11.0+cu130");
    assert_eq!(manifest["data_set"]["num_train"], 16);
    for hash in [
        &manifest["recipe"]["sha256"],
        &manifest["program"]["sha256"],
        &manifest["data_set"]["listing_sha256"],
    ] {
        assert_eq!(hash.as_str().unwrap().len(), 64);
    }
}

#[test]
fn ranks_read_a_recipe_in_which_everything_is_settled() {
    let stage = Stage::with_ranks(GOOD);
    stage.put("synth.toml", "extends = \"recipe\"\n[mlperf]\norg = \"Example Labs\"\n");
    let args = ["--recipe", "synth.toml", "--data", "images", "--system", "box"];
    Told::of(stage.command(&args).output().unwrap()).expect(0, &[]);
    let path = stage.path("results/box/run_0/recipe.toml").display().to_string();
    let file = recipe::load(&recipe::find(&path).unwrap(), &[]).unwrap();
    assert_eq!(file.data.path.unwrap(), stage.path("images").canonicalize().unwrap());
    assert_eq!(file.data.synth, None);
    assert_eq!(file.run.seed, Some(17));
    assert_eq!(file.mlperf.org, "Example Labs");
    assert!(!file.mlperf.platform.is_empty());
}

#[test]
fn ranks_get_torchruns_names_and_the_way_to_libtorch() {
    let script = r#"env > "$STAGE/env-$RANK"; [ "$RANK" = 0 ] && run_stop success; exit 0"#;
    let stage = Stage::with_ranks(script);
    stage.train(&[]).expect(0, &[]);
    let variables = stage.read("env-1");
    let has = |line: &str| variables.lines().any(|other| other == line);
    for line in ["RANK=1", "LOCAL_RANK=1", "WORLD_SIZE=2", "LOCAL_WORLD_SIZE=2"] {
        assert!(has(line), "{line} is missing in\n{variables}");
    }
    assert!(has("MASTER_ADDR=127.0.0.1") && has("MLPERF_RUN_EVENTS=json"), "{variables}");
    let lib = stage.path("torch/lib").canonicalize().unwrap();
    assert!(variables.contains(&format!("LD_LIBRARY_PATH={}", lib.display())), "{variables}");
    let port = |text: String| {
        text.lines().find_map(|line| line.strip_prefix("MASTER_PORT=").map(str::to_owned))
    };
    assert_eq!(port(stage.read("env-0")), port(variables));
}

#[test]
fn results_are_numbered_on_and_never_overwritten() {
    let stage = Stage::with_ranks(GOOD);
    stage.train(&[]).expect(0, &[]);
    stage.train(&[]).expect(0, &[]);
    let result = |n| stage.read(&format!("results/box/resnet/result_{n}.txt"));
    assert!(result(0).contains("run_0") && result(1).contains("run_1"));
    stage.train(&["--result", "1"]).expect(3, &["result 1 exists already", "leave out --result"]);
    stage.train(&["--result", "7"]).expect(0, &[]);
    assert!(result(1).contains("run_1") && result(7).contains("run_7"));
}

#[test]
fn runs_of_one_recipe_get_seeds_and_results_of_their_own() {
    let stage = Stage::with_ranks(GOOD);
    let told = stage.train(&["--runs", "3"]);
    told.expect(0, &[]);
    assert_eq!(told.stdout.lines().count(), 7, "{told:#?}");
    for n in 0..3 {
        let manifest = json(&stage.read(&format!("results/box/run_{n}/manifest.json")));
        assert_eq!(manifest["seed"], 17 + n);
        assert!(stage.path(&format!("results/box/resnet/result_{n}.txt")).exists());
    }
}

#[test]
fn a_series_that_a_failure_ends_says_how_many_runs_are_left() {
    let failing = r#"case "$run_dir" in *run_1) failed internal "no luck"; exit 1;; esac"#;
    let stage = Stage::with_ranks(&format!("{failing}\n{GOOD}"));
    let left = "1 of 3 runs are complete; --runs 2 makes the others";
    stage.train(&["--runs", "3"]).expect(6, &[left, "no luck"]);
    assert!(!stage.train(&["--runs", "2"]).stderr.contains("runs are complete"));
}

#[test]
fn several_recipes_run_one_after_another_and_are_compared() {
    let stage = Stage::with_ranks(GOOD);
    stage.put("other.toml", "extends = \"recipe\"\n");
    let told = stage.train(&["--recipe", "other.toml", "--quiet"]);
    told.expect(0, &[]);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{told:#?}");
    assert!(lines[0].starts_with("recipe") && lines[0].contains("speed-up"), "{told:#?}");
    assert!(lines[1].starts_with("recipe ") && lines[1].contains("1.00x"), "{told:#?}");
    assert!(lines[2].starts_with("other "), "{told:#?}");
    assert_eq!(lines[4], "result: results/box/resnet/result_1.txt");
}

#[test]
fn standard_output_has_the_table_alone_and_quiet_means_quiet() {
    let stage = Stage::with_ranks(GOOD);
    let told = stage.train(&[]);
    assert_eq!(told.stdout.lines().count(), 3, "{told:#?}");
    assert!(told.stdout.starts_with("recipe "), "{told:#?}");
    assert!(!told.stderr.contains('\u{1b}'), "escape codes off a terminal: {told:#?}");
    assert!(told.stderr.contains("memory: 2 ranks x ("), "{told:#?}");
    assert_eq!(stage.train(&["--quiet"]).stderr, "");
}

#[test]
fn systems_are_named_after_machine_and_recipe_unless_somebody_names_them() {
    let stage = Stage::with_ranks(GOOD);
    let args = ["--recipe", "recipe.toml", "--data", "images"];
    Told::of(stage.command(&args).output().unwrap()).expect(0, &[]);
    let mut systems = stage.path("results").read_dir().unwrap();
    let name = systems.next().unwrap().unwrap().file_name().into_string().unwrap();
    assert!(name.ends_with("-recipe"), "{name}");
}

#[test]
fn a_described_system_signs_the_log() {
    let stage = Stage::with_ranks(GOOD);
    let example = include_str!("../../../configs/systems/example.toml");
    let box_ = example
        .replace("submitter = \"unverified\"", "submitter = \"Example Labs\"")
        .replace("Research, Development, or Internal (RDI)", "Available on-premise");
    stage.put("configs/systems/box.toml", &box_);
    stage.train(&[]).expect(0, &[]);
    let recipe = stage.read("results/box/run_0/recipe.toml");
    for line in ["org = \"Example Labs\"", "platform = \"example\"", "status = \"onprem\""] {
        assert!(recipe.contains(line), "{line} is missing in\n{recipe}");
    }
}

#[test]
fn the_built_in_set_is_made_once_and_then_kept() {
    let stage = Stage::with_ranks(GOOD);
    let synth = "extends = \"recipe\"\n[data.synth]\nnum_classes = 2\nnum_train = 8\n\
                 num_eval = 4\nsize = 32\n";
    stage.put("synth.toml", synth);
    let train = || {
        let mut command = stage.command(&["--recipe", "synth.toml", "--system", "box"]);
        Told::of(command.env("MLPERF_RUN_CACHE", stage.path("cache")).output().unwrap())
    };
    train().expect(0, &["generating 12 images"]);
    let again = train();
    again.expect(0, &[]);
    assert!(!again.stderr.contains("generating"), "{again:#?}");
    let manifest = json(&stage.read("results/box/run_1/manifest.json"));
    assert_eq!(manifest["data_set"]["synth"]["num_train"], 8);
}

#[test]
fn more_ranks_than_cores_run_with_a_warning() {
    let ranks = std::thread::available_parallelism().unwrap().get() + 1;
    let stage = Stage::with_ranks(GOOD);
    for i in 0..ranks {
        stage.put(&format!("images/train/cat/more-{i}.JPEG"), "");
    }
    let (nproc, batch) = (ranks.to_string(), format!("train.batch_size={ranks}"));
    let told = stage.train(&["--nproc", &nproc, "--set", &batch]);
    told.expect(0, &["warning:", "processor cores and will be slow"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let stage = Stage::with_ranks(GOOD);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = stage.training(&[]).stdout(writer).output().unwrap();
    Told::of(output).expect(0, &[]);
}

#[test]
fn a_result_that_cannot_be_told_is_a_bug_and_ends_with_1() {
    let stage = Stage::with_ranks(GOOD);
    let full = Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let output = stage.training(&[]).stdout(full).output().unwrap();
    Told::of(output).expect(1, &["cannot write to standard output"]);
}
