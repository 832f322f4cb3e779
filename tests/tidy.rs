//! Checks the architecture in `docs/ARCHITECTURE.md`: which module may use which, how files look, and
//! that comments, messages and docs use the field's standard words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Modules by layer, lowest first. A module uses layers below, never its own or a higher one.
const LAYERS: [&[&str]; 9] = [
    &["libtorch", "hash", "atomic_file", "mlperf", "problems", "tensor_name"],
    &["time"],
    &["data", "model", "optim", "distributed", "mllog", "events"],
    &["algorithms", "compliance", "weights"],
    &["recipe"],
    &["run_dir"],
    &["console", "launch", "metrics", "train", "submission"],
    &["report"],
    &["cli"],
];

/// Modules that never name tch.
const TORCHLESS: [&str; 13] = [
    "weights",
    "time",
    "launch",
    "metrics",
    "recipe",
    "mllog",
    "events",
    "data",
    "compliance",
    "submission",
    "console",
    "report",
    "cli",
];

/// Words that no comment, message or page uses, and what to write instead. Case does not matter. Add
/// a line to retire a word.
const RETIRED: [(&str, &str); 32] = [
    ("beside", "next to"),
    ("beton", "FFCV file, .beton file"),
    ("blueprint", "ModelSpec, specification"),
    ("crew", "RankLayout, ranks"),
    ("door", "entry point"),
    ("doors", "entry points"),
    ("farewell", "teardown"),
    ("floor", "layer, minimum"),
    ("horizon", "length of the run"),
    ("house", "project"),
    ("hungriest", "most demanding"),
    ("journal", "EventLog, event log"),
    ("judge", "check, evaluate"),
    ("judged", "checked, evaluated"),
    ("judges", "checks, evaluates"),
    ("judging", "checking, evaluating"),
    ("last_words", "log_tail, end of the log"),
    ("law", "rule"),
    ("laws", "rules"),
    ("mended", "repaired"),
    ("muster", "detect"),
    ("picture", "image"),
    ("pictures", "images"),
    ("road", "path, steps"),
    ("roads", "paths, steps"),
    ("room", "module, space, memory"),
    ("rooms", "modules"),
    ("seam", "interface, trait"),
    ("shelf", "ResultsDir, results directory"),
    ("situation", "RunContext, context"),
    ("untold", "unreported"),
    ("witness", "reference, evidence"),
];

/// Retired words that a file or the files of a folder may use: names in formats and in code, and
/// words of folders that have not been rewritten yet. Delete a word here once its folder is clean.
const ALLOWED: [(&str, &[&str]); 11] = [
    // The extension of FFCV files, and folders of test files.
    ("docs/data-sets.md", &["beton"]),
    ("scripts/fixtures", &["beton"]),
    ("scripts/fuzz/seeds.py", &["beton"]),
    ("scripts/oracle/data.py", &["beton"]),
    ("src/data", &["beton"]),
    // A member of a store's manifest.json.
    ("src/cli/store_text.rs", &["mended"]),
    ("src/data/format/manifest.rs", &["mended"]),
    ("src/data/import", &["mended"]),
    // The mathematical function.
    ("scripts/oracle/reference_losses.py", &["floor"]),
    // `f64::floor` in a formula.
    ("src/algorithms/progressive_resizing.rs", &["floor"]),
    ("docs/methods/progressive_resizing.md", &["floor"]),
];

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    files(folder, &["rs"])
}

/// Files below `folder` with one of the extensions, which may be empty, and their contents.
fn files(folder: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().map_or("", |end| end.to_str().unwrap());
            if path.is_dir() {
                open.push(path);
            } else if extensions.contains(&extension) {
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

/// The comments and string literals of Rust or C++ code, line by line with line numbers.
fn prose(code: &str) -> Vec<(usize, &str)> {
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while let Some(c) = code[at..].chars().next() {
        let rest = &code[at..];
        let is_start = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let hashes = rest[c.len_utf8()..].bytes().take_while(|byte| *byte == b'#').count();
        let raw = c == 'r' && is_start && rest[1 + hashes..].starts_with('"');
        let end = |start: usize, mark: &str| {
            rest[start..].find(mark).map_or(rest.len(), |found| start + found + mark.len())
        };
        let (length, is_prose) = match c {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), true),
            '/' if rest.starts_with("/*") => (end(2, "*/"), true),
            'r' if raw => (end(2 + hashes, &format!("\"{}", "#".repeat(hashes))), true),
            '"' => (string_length(rest), true),
            '\'' if rest[1..].starts_with('\\') => (end(3, "'"), false),
            '\'' if rest.chars().nth(2) == Some('\'') => (end(1, "'"), false),
            c => (c.len_utf8(), false),
        };
        if is_prose {
            found.extend(rest[..length].lines().enumerate().map(|(i, text)| (line + i, text)));
        }
        line += rest[..length].matches('\n').count();
        at += length;
    }
    found
}

/// Length of the string literal at the start of `code`, with its quotes.
fn string_length(code: &str) -> usize {
    let mut escaped = false;
    for (at, c) in code.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            c => escaped = c == '\\' && !escaped,
        }
    }
    code.len()
}

/// Whether a file may use a retired word; `path` is relative to the repository.
fn allowed(path: &Path, word: &str) -> bool {
    ALLOWED.iter().any(|(place, words)| path.starts_with(place) && words.contains(&word))
}

#[test]
fn retired_words_are_not_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for (folder, extensions) in [
        ("src", ["rs", "cc", "h", "toml"].as_slice()),
        ("docs", &["md"]),
        ("scripts", &["", "py"]),
        ("benches", &["rs"]),
        ("examples", &["rs", "toml"]),
        ("configs", &["toml"]),
    ] {
        all.extend(files(folder, extensions));
    }
    for name in ["README.md", "CONTRIBUTING.md", "build.rs", "Cargo.toml"] {
        all.push((root.join(name), fs::read_to_string(root.join(name)).unwrap()));
    }
    let mut uses = Vec::new();
    for (path, text) in &all {
        let path = path.strip_prefix(root).unwrap();
        if path == Path::new("docs/LOG.md") {
            continue;
        }
        let is_code = ["rs", "cc", "h"].iter().any(|end| path.extension() == Some(end.as_ref()));
        let lines: Vec<(usize, &str)> =
            if is_code { prose(text) } else { (1..).zip(text.lines()).collect() };
        for (line, text) in lines {
            for found in text.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
                let found = found.to_lowercase();
                let retired = RETIRED.iter().find(|(word, _)| *word == found);
                if let Some((word, better)) = retired.filter(|(word, _)| !allowed(path, word)) {
                    let path = path.display();
                    uses.push(format!("{path}:{line}: \"{word}\" is retired; write {better}"));
                }
            }
        }
    }
    assert!(uses.is_empty(), "{} retired words:\n{}", uses.len(), uses.join("\n"));
}

/// The value of each `key:` or list item `- key:` in a YAML file.
fn yaml_values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim).collect()
}

#[test]
fn workflows_call_scripts_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let github = fs::read_to_string(root.join(".github/workflows/ci.yml")).unwrap();
    let gitlab = fs::read_to_string(root.join(".gitlab-ci.yml")).unwrap();
    let scripts = gitlab.split("script:").nth(1).unwrap().lines();
    let scripts = scripts.filter_map(|line| line.trim_start().strip_prefix("- "));
    let commands: Vec<_> = yaml_values(&github, "run").into_iter().chain(scripts).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        let script = root.join(command.split(' ').next().unwrap());
        let metadata = script.metadata().unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(metadata.permissions().mode() & 0o111 != 0, "{command}: cannot be executed");
    }
    for action in yaml_values(&github, "uses") {
        let version = action.rsplit_once("@v").map(|(_, version)| version.parse::<u32>());
        assert!(matches!(version, Some(Ok(_))), "{action}: no version");
    }
    for text in [&github, &gitlab] {
        for file in ["Cargo.lock", "scripts/setup"] {
            assert!(text.contains(file) && root.join(file).is_file(), "{file}");
        }
        assert!(!text.contains('\t'), "YAML has no tabs");
    }
}

#[test]
fn comments_and_strings_are_found_in_code() {
    let code = "let a = \"one\\\"\"; // two\nlet b = 'x'; let c: &'a str = r#\"three\n\"four\"\"#;\n\
                let d = ('\"', b'\\'', other(\"five\")); /* six */ letter\"\"";
    let found: Vec<_> = prose(code).into_iter().map(|(line, text)| (line, text.trim())).collect();
    let expected = [
        (1, "\"one\\\"\""),
        (1, "// two"),
        (2, "r#\"three"),
        (3, "\"four\"\"#"),
        (4, "\"five\""),
        (4, "/* six */"),
        (4, "\"\""),
    ];
    assert_eq!(found, expected);
}
