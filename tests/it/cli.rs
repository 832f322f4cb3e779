//! The command line as one types it.

use std::process::Command;

fn mlperf_run(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
    let output = command.args(args).env_remove("COLUMNS").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_shows_what_there_is() {
    let (code, help, _) = mlperf_run(&["--help"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(help);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for args in [
        [].as_slice(),
        &["--recipe"],
        &["--recipe", "x", "--nproc", "0"],
        &["--recipe", "x", "--runs", "0"],
        &["--recipe", "x", "--device", "tpu"],
        &["--recipe", "x", "--seed", "-1"],
        &["--recipes", "x"],
        &["--recipe", "x", "plan", "--recipe", "y"],
        &["bench", "data", "--data", "x", "--threads", "0"],
        &["bench", "data", "--data", "x", "--threads", "999999"],
        &["data", "import", "x", "--out", "y", "--threads", "999999"],
        &["unheard-of"],
    ] {
        let (code, stdout, stderr) = mlperf_run(args);
        assert_eq!(code, Some(2), "{args:?}: {stdout}{stderr}");
        assert_eq!(stdout, "");
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
    let args = ["--recipe", "demo/optimized", "--dry-run", "--seed", "5", "--nproc", "4"];
    let output = command.args(args).current_dir(&folder).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("seed = 5") && text.contains("num_ranks = 4"), "{text}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "a dry run left something");
}

#[test]
fn a_log_that_breaks_rules_ends_check_with_4() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("result_0.txt");
    std::fs::write(&log, "no log\n").unwrap();
    assert_eq!(mlperf_run(&["check", &log.display().to_string()]).0, Some(4));
}

#[test]
fn data_synth_makes_a_set_that_a_second_call_finds() {
    let cache = tempfile::tempdir().unwrap();
    let args = ["data", "synth", "--num-classes", "2", "--num-train", "4", "--num-eval", "2"];
    let synth = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
        let output = command.args(args).env("MLPERF_RUN_CACHE", cache.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let (folder, said) = synth();
    assert!(said.contains("wrote 4 training and 2 validation images"), "{said}");
    assert!(std::path::Path::new(folder.trim()).join("train").is_dir(), "{folder}");
    let (again, said) = synth();
    assert_eq!(again, folder);
    assert!(said.contains("existed already"), "{said}");
}
