//! What is installed: programs in a Python environment, and files that containers need.

use std::{fs, path::Path, process::Command};

use mlperf_run::console;
use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A Python environment with `torch` of `version` and the programs in it; none without Python.
fn environment(version: &str) -> Option<TempDir> {
    // On the file system of the programs, so that a hard link is enough.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut python = Command::new("python3");
    let made = python.args(["-m", "venv", "--without-pip"]).arg(folder.path()).status();
    if !made.is_ok_and(|status| status.success()) {
        console::note("skipped: no python3 with venv");
        return None;
    }
    let lib = fs::read_dir(folder.path().join("lib")).unwrap().next().unwrap().unwrap().path();
    let torch = lib.join("site-packages/torch");
    fs::create_dir_all(torch.join("lib")).unwrap();
    fs::write(torch.join("__init__.py"), "").unwrap();
    fs::write(torch.join("version.py"), format!("__version__ = '{version}'\n")).unwrap();
    fs::write(torch.join("lib/libtorch_cpu.so"), "").unwrap();
    let bin = folder.path().join("bin");
    fs::hard_link(env!("CARGO_BIN_EXE_mlperf-run"), bin.join("mlperf-run")).unwrap();
    fs::write(bin.join("mlperf-rank"), "").unwrap();
    Some(folder)
}

/// What the doctor of the environment finds on a topic.
fn found(environment: &TempDir, topic: &str) -> Value {
    let mut doctor = Command::new(environment.path().join("bin/mlperf-run"));
    for name in ["LIBTORCH", "MLPERF_LIBTORCH", "MLPERF_RUN_RANK_BIN"] {
        doctor.env_remove(name);
    }
    let output = doctor.args(["doctor", "--json"]).current_dir(environment).output().unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    findings.into_iter().find(|finding| finding["topic"] == topic).unwrap()
}

#[test]
fn programs_in_a_python_environment_find_each_other_and_its_torch() {
    let Some(environment) = environment("2.11.0+cu130") else { return };
    let root = environment.path().canonicalize().unwrap();
    let rank = found(&environment, "programs");
    assert_eq!(rank["found"], format!("mlperf-rank is {}", root.join("bin/mlperf-rank").display()));
    let libtorch = found(&environment, "libtorch");
    assert_eq!(libtorch["verdict"], "ok", "{libtorch}");
    let text = libtorch["found"].as_str().unwrap();
    assert!(
        text.starts_with("2.11.0+cu130 in ") && text.ends_with("site-packages/torch/lib"),
        "{text}"
    );
    assert!(text.contains(&root.display().to_string()), "{text}");
}

#[test]
fn another_torch_in_the_environment_is_refused_with_the_fix() {
    let Some(environment) = environment("2.9.1") else { return };
    let libtorch = found(&environment, "libtorch");
    assert_eq!(libtorch["verdict"], "fail", "{libtorch}");
    assert!(libtorch["found"].as_str().unwrap().contains("is version 2.9.1"), "{libtorch}");
    assert!(libtorch["fix"].as_str().unwrap().contains("pip install torch==2.11.0"), "{libtorch}");
}

/// Nothing here builds a container, but a file that has moved would break each of them.
#[test]
fn files_that_containers_use_exist() {
    let mut num_files = 0;
    for entry in fs::read_dir(Path::new(ROOT).join("containers")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for word in
            text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace)
        {
            let is_own =
                ["scripts/", "configs/", "src/", "docs/"].iter().any(|it| word.starts_with(it));
            if is_own {
                assert!(Path::new(ROOT).join(word).exists(), "{}: no {word}", path.display());
                num_files += 1;
            }
        }
        for line in
            text.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from="))
        {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let (_, sources) = words.split_last().unwrap();
            for source in sources {
                assert!(Path::new(ROOT).join(source).exists(), "{}: no {source}", path.display());
                num_files += 1;
            }
        }
    }
    assert!(num_files >= 3, "{num_files}");
}
