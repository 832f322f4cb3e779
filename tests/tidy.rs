//! Checks the architecture in `docs/ARCHITECTURE.md`: which module may use which, and how files look.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules by layer, lowest first. A module uses layers below, never its own or a higher one.
const LAYERS: [&[&str]; 7] = [
    &["libtorch", "hash", "mlperf", "problems"],
    &["data", "model", "optim", "distributed", "mllog", "events"],
    &["algorithms", "compliance"],
    &["recipe"],
    &["run_dir"],
    &["console", "launch", "train", "submission"],
    &["cli"],
];

/// Modules that never name tch.
const TORCHLESS: [&str; 9] =
    ["launch", "recipe", "mllog", "events", "data", "compliance", "submission", "console", "cli"];

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// The module of a file: the first folder below src.
fn module(path: &Path) -> Option<String> {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next()?.as_os_str().to_string_lossy().into_owned();
    LAYERS.iter().any(|modules| modules.contains(&first.as_str())).then_some(first)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Modules that a source names, as `crate::ROOM` or in a `use crate::{..}` list.
fn modules_named(text: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => modules.extend(top_names(list)),
            None => modules.push(word(rest)),
        }
    }
    modules.retain(|module| layer(module).is_some());
    modules
}

/// First words of the items of a braced list, up to its closing brace.
fn top_names(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && c.is_ascii_lowercase() => {
                names.push(word(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn modules_use_layers_below_only() {
    let mut checked = 0;
    for (path, text) in sources("src") {
        let Some(from) = module(&path) else { continue };
        for to in modules_named(&text) {
            checked += 1;
            assert!(
                to == from || layer(&to) < layer(&from),
                "{}: {from} may not use {to}",
                path.display()
            );
        }
    }
    assert!(checked > 50, "only {checked} uses were found: the test reads nothing");
}

#[test]
fn modules_without_torch_never_name_it() {
    for (path, text) in sources("src") {
        let Some(module) = module(&path).filter(|module| TORCHLESS.contains(&module.as_str()))
        else {
            continue;
        };
        for name in ["tch::", "torch_sys::"] {
            let named = text
                .match_indices(name)
                .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            assert!(!named, "{}: {module} names {name}", path.display());
        }
    }
}

#[test]
fn a_braced_list_of_modules_is_read() {
    let text =
        "use crate::{\n    data::{Batch, model::X},\n    events::RankEvent,\n};\ncrate::cli::x()";
    assert_eq!(modules_named(text), ["data", "events", "cli"]);
}

#[test]
fn files_stay_short_and_named() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let vague = ["utils", "util", "helpers", "common", "misc", "manager"];
        assert!(!vague.contains(&stem.as_str()), "{}: says nothing", path.display());
        let lines = text.lines().count();
        assert!(lines <= 600, "{}: {lines} lines; split it", path.display());
        assert!(text.starts_with("//!"), "{}: no module doc", path.display());
    }
}

#[test]
fn the_step_of_the_trainer_is_short() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/train/step.rs");
    let text = fs::read_to_string(path).unwrap();
    let body = text.split("fn step(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let lines = body.lines().count();
    assert!(lines <= 15, "{lines} lines; the step is the shortest function of the program");
}

#[test]
fn every_recipe_says_what_it_is() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut num_recipes = 0;
    for folder in [configs.clone(), configs.join("demo")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "toml") {
                let text = fs::read_to_string(&path).unwrap();
                let header = text.lines().take_while(|line| line.starts_with('#')).count();
                assert!(header >= 4, "{}: no header", path.display());
                assert!(text.contains("mlperf-run --recipe"), "{}: no command", path.display());
                num_recipes += 1;
            }
        }
    }
    assert!(num_recipes >= 4);
}
