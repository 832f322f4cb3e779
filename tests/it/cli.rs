//! The command line as one types it.

use std::process::Command;

use clap::CommandFactory as _;
use mlperf_run::{cli::Cli, console};

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

/// Every command with the words that call it.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    let mut found = vec![(vec!["mlperf-run".to_owned()], Cli::command())];
    let mut next = 0;
    while let Some((words, command)) = found.get(next).cloned() {
        let below = command.get_subcommands().cloned();
        found.extend(below.map(|it| ([&words[..], &[it.get_name().to_owned()]].concat(), it)));
        next += 1;
    }
    assert!(found.len() > 15, "{} commands", found.len());
    found
}

#[test]
fn the_help_of_every_command_has_examples_that_are_right() {
    for (words, command) in commands() {
        let call = words.join(" ");
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        let examples: Vec<&str> = lines.filter(|line| line.starts_with("mlperf-run")).collect();
        assert!(examples.iter().any(|line| line.starts_with(&call)), "{call} has no example");
        for example in examples {
            // What it means comes after two spaces, and the shell takes what follows > and |.
            let typed = example.split("  ").next().unwrap().split(['>', '|']).next().unwrap();
            let parsed = Cli::command().try_get_matches_from(typed.split_whitespace());
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}

fn completions(shell: &str) -> String {
    let (code, script, stderr) = mlperf_run(&["completions", shell]);
    assert_eq!(code, Some(0), "{stderr}");
    script
}

#[test]
fn the_completions_of_every_shell_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = completions(shell);
        for (words, command) in commands() {
            for word in &words {
                assert!(script.contains(word.as_str()), "{shell} does not know {words:?}");
            }
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(script.contains(option), "{shell} does not know {words:?} --{option}");
            }
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("completions");
    std::fs::write(&script, completions("bash")).unwrap();
    let program = r#"source "$0"; set_up=$(complete -p mlperf-run); function=${set_up##*-F }
        COMP_WORDS=(mlperf-run "$@") COMP_CWORD=$#
        ${function% *} mlperf-run "${COMP_WORDS[$#]}" "${COMP_WORDS[$#-1]}"; echo "${COMPREPLY[@]}""#;
    for (typed, completed) in [
        (["doc"].as_slice(), "doctor"),
        (&["data", "imp"], "import"),
        (&["plan", "--rec"], "--recipe"),
    ] {
        let mut bash = Command::new("bash");
        let output = bash.args(["-c", program]).arg(&script).args(typed).output();
        let Ok(output) = output else {
            console::note("skipped: no bash");
            return;
        };
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            said.trim(),
            completed,
            "{typed:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn every_command_has_a_manual_page_that_shows_options_and_examples() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    let (code, _, stderr) = mlperf_run(&["man", "--out", &pages.display().to_string()]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(pages.read_dir().unwrap().count(), commands().len());
    let (code, printed, _) = mlperf_run(&["man"]);
    assert_eq!(code, Some(0));
    assert_eq!(printed.trim(), std::fs::read_to_string(pages.join("mlperf-run.1")).unwrap().trim());
    for (words, command) in commands() {
        let page = pages.join(words.join("-") + ".1");
        let mut groff = Command::new("groff");
        let output = groff.args(["-man", "-Tascii", "-P-cbou", "-rLL=300n"]).arg(&page).output();
        let Ok(output) = output else {
            console::note("skipped: no groff");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(text.contains(&format!("--{option}")), "{words:?} --{option}: {text}");
        }
        let is_example = |line: &str| line.trim().starts_with(&words.join(" "));
        assert!(text.lines().any(is_example), "{words:?} has no example: {text}");
    }
}
