//! Finds logs in a tree of results. Known layouts: `SUBMITTER/results/SYSTEM/BENCHMARK/result_*.txt`
//! with `SUBMITTER/systems/SYSTEM.json`, as one such tree, several, or a part of one; and the
//! layout of runs, `DIR/SYSTEM/resnet/result_N.txt` with `DIR/SYSTEM/run_N/manifest.json`.
//!
//! This module writes nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    compliance::{Ruleset, UnknownRuleset, benchmark_of, latest_ruleset},
    run_dir,
};

use super::benchmark::is_benchmark;

/// The results found below a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// One entry for each folder with logs, by path.
    pub systems: Vec<SystemResults>,
}

/// The results of one system in one benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemResults {
    /// The folder of the logs.
    pub folder: PathBuf,
    /// `result_*.txt`, by number.
    pub logs: Vec<PathBuf>,
    /// Name of the system's folder.
    pub system: String,
    /// Name of the benchmark's folder, if the tree has one.
    pub benchmark: Option<String>,
    /// Name of the submitter's folder, if the tree has one.
    pub submitter: Option<String>,
    /// The path of `systems/SYSTEM.json`, if the tree has a `results` folder; the file may not
    /// exist.
    pub description: Option<PathBuf>,
}

/// Why a tree cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A folder or file cannot be read.
    #[error("cannot read {} ({source}); name an existing log or folder", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// There is no log.
    #[error("no result_*.txt found below {}; name a log", .0.display())]
    NoLogs(PathBuf),
    /// A JSON file is not an object.
    #[error("{} is not a JSON object ({message}); repair or remove it", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The tree names an unknown ruleset.
    #[error("{}: {source}", path.display())]
    Ruleset {
        /// The manifest or the folder.
        path: PathBuf,
        /// What is wrong.
        source: UnknownRuleset,
    },
}

impl Tree {
    /// Finds the results below `folder`; fails if there is no log.
    pub fn find(folder: &Path) -> Result<Self, LayoutError> {
        let mut tree = Self::default();
        tree.search(folder)?;
        if tree.systems.is_empty() {
            return Err(LayoutError::NoLogs(folder.into()));
        }
        tree.systems.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(tree)
    }

    fn search(&mut self, folder: &Path) -> Result<(), LayoutError> {
        let mut logs = Vec::new();
        let unreadable = |source| LayoutError::Read { path: folder.into(), source };
        for entry in folder.read_dir().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type().map_err(unreadable)?.is_dir() {
                self.search(&entry.path())?;
            } else if is_result(&name) {
                logs.push(entry.path());
            }
        }
        if !logs.is_empty() {
            self.systems.push(SystemResults::new(folder, logs));
        }
        Ok(())
    }
}

/// Whether the package checker takes a file of this name for a log.
pub fn is_result(name: &str) -> bool {
    name.strip_prefix("result_").is_some_and(|rest| rest.strip_suffix(".txt").is_some())
}

impl SystemResults {
    fn new(folder: &Path, mut logs: Vec<PathBuf>) -> Self {
        // Numbered names are sorted by number: result_2 before result_10.
        logs.sort_by_cached_key(|log| (log.as_os_str().len(), log.clone()));
        let mut results = Self::around(folder);
        results.logs = logs;
        results
    }

    /// The system whose logs are in `folder`, without the logs.
    fn around(folder: &Path) -> Self {
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
        let last = absolute.file_name().map(|name| name.to_string_lossy().into_owned());
        let benchmark = last.filter(|name| is_benchmark(name));
        let system_folder =
            if benchmark.is_some() { absolute.parent() } else { Some(absolute.as_path()) };
        let results = system_folder.and_then(Path::parent);
        let submitter = results
            .filter(|folder| folder.file_name().is_some_and(|name| name == "results"))
            .and_then(Path::parent);
        let name = |folder: &Path| Some(folder.file_name()?.to_string_lossy().into_owned());
        let system = system_folder.and_then(name).unwrap_or_default();
        Self {
            folder: folder.into(),
            logs: Vec::new(),
            description: submitter.map(|it| it.join("systems").join(format!("{system}.json"))),
            submitter: submitter.and_then(name),
            system,
            benchmark,
        }
    }

    /// The system to which one log belongs.
    pub fn of_log(log: &Path) -> Self {
        let mut results = Self::around(log.parent().unwrap_or(Path::new("")));
        results.logs.push(log.into());
        results
    }

    /// The members of `systems/SYSTEM.json`, if the file exists.
    pub fn read_description(&self) -> Result<Option<Map<String, Value>>, LayoutError> {
        self.description.as_deref().map_or(Ok(None), read_json)
    }
}

/// Reads a JSON object, if the file exists.
fn read_json(path: &Path) -> Result<Option<Map<String, Value>>, LayoutError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LayoutError::Read { path: path.into(), source }),
    };
    let json = |message: String| LayoutError::Json { path: path.into(), message };
    serde_json::from_str(&text).map(Some).map_err(|error| json(error.to_string()))
}

/// A ruleset and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesetGuess {
    /// The ruleset.
    pub ruleset: Ruleset,
    /// Its origin, in a few words.
    pub why: String,
}

/// The ruleset in the manifest of the log's run; otherwise the round in the name of a parent folder
/// (`v2.0`, `training_results_v2.0`); otherwise the latest with the log's benchmark.
pub fn guess_ruleset(log: &Path) -> Result<RulesetGuess, LayoutError> {
    let absolute = std::path::absolute(log).unwrap_or_else(|_| log.into());
    if let Some(guess) = ruleset_of_manifest(&absolute)? {
        return Ok(guess);
    }
    for folder in absolute.ancestors().skip(1) {
        let Some(round) = folder.file_name().and_then(|name| round_named(name.to_str()?)) else {
            continue;
        };
        let ruleset =
            round.parse().map_err(|source| LayoutError::Ruleset { path: folder.into(), source })?;
        let name = folder.file_name().expect("it has just been read").to_string_lossy();
        return Ok(RulesetGuess { ruleset, why: format!("folder {name}") });
    }
    // An unreadable log has an error of its own later.
    let benchmark = benchmark_of(log).ok().flatten();
    let latest = benchmark.and_then(|name| Some((latest_ruleset(&name)?, name)));
    Ok(match latest {
        Some((ruleset, name)) => RulesetGuess {
            ruleset,
            why: format!("the latest with {name}; choose another with --ruleset"),
        },
        None => RulesetGuess {
            ruleset: Ruleset::LATEST,
            why: "the latest; choose another with --ruleset".into(),
        },
    })
}

fn ruleset_of_manifest(log: &Path) -> Result<Option<RulesetGuess>, LayoutError> {
    let Some(path) = manifest_of(log) else { return Ok(None) };
    let Some(manifest) = read_json(&path)? else { return Ok(None) };
    let name = match manifest.get("ruleset") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(name)) => name.clone(),
        Some(other) => other.to_string(),
    };
    let ruleset =
        name.parse().map_err(|source| LayoutError::Ruleset { path: path.clone(), source })?;
    let place = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    Ok(Some(RulesetGuess { ruleset, why: format!("{place}/manifest.json") }))
}

/// `DIR/run_N/manifest.json` of `DIR/resnet/result_N.txt`.
fn manifest_of(log: &Path) -> Option<PathBuf> {
    let number = log.file_stem()?.to_str()?.strip_prefix("result_")?;
    let folder = log.parent()?;
    let system = (folder.file_name()? == "resnet").then(|| folder.parent())??;
    Some(system.join(run_dir::run_name(number)).join(run_dir::MANIFEST))
}

/// `2.0.0` of `v2.0`, `training_results_v2.0`, `v2.0.0`.
fn round_named(folder: &str) -> Option<String> {
    let (before, version) = folder.rsplit_once('v')?;
    if !(before.is_empty() || before.ends_with(['_', '-'])) {
        return None;
    }
    let numbers: Vec<&str> = version.split('.').collect();
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (matches!(numbers.len(), 2 | 3) && numbers.iter().all(digits))
        .then(|| format!("{}.{}.{}", numbers[0], numbers[1], numbers.get(2).unwrap_or(&"0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn systems_are_found_from_any_folder_of_the_tree() {
        let root = tempfile::tempdir().unwrap();
        for log in ["result_10.txt", "result_2.txt", "scaling.json", "result-3.txt"] {
            put(root.path(), &format!("v2.0/Somebody/results/box/resnet/{log}"), "");
        }
        put(root.path(), "v2.0/Somebody/systems/box.json", r#"{"division": "open"}"#);
        for from in ["", "v2.0/Somebody", "v2.0/Somebody/results/box/resnet"] {
            let tree = Tree::find(&root.path().join(from)).unwrap();
            let [system] = &tree.systems[..] else { panic!("{tree:?}") };
            assert_eq!(system.system, "box");
            assert_eq!(system.benchmark.as_deref(), Some("resnet"));
            assert_eq!(system.submitter.as_deref(), Some("Somebody"));
            let names: Vec<_> = system.logs.iter().map(|log| log.file_name().unwrap()).collect();
            assert_eq!(names, ["result_2.txt", "result_10.txt"]);
            assert_eq!(system.read_description().unwrap().unwrap()["division"], "open");
            let guess = guess_ruleset(&system.logs[0]).unwrap();
            assert_eq!((guess.ruleset, guess.why.as_str()), (Ruleset::V2_0_0, "folder v2.0"));
        }
        put(root.path(), "v2.0/Somebody/results/box/bert/result_0.txt", "");
        let tree = Tree::find(root.path()).unwrap();
        let benchmarks: Vec<_> = tree.systems.iter().map(|it| it.benchmark.as_deref()).collect();
        assert_eq!(benchmarks, [Some("bert"), Some("resnet")]);
    }

    #[test]
    fn missing_and_incomplete_trees_are_reported() {
        let root = tempfile::tempdir().unwrap();
        let error = |path: &Path| Tree::find(path).unwrap_err().to_string();
        assert!(error(root.path()).starts_with("no result_*.txt found below "));
        assert!(error(&root.path().join("no")).contains("No such file"));
        put(root.path(), "me/results/box/resnet/result_0.txt", "");
        put(root.path(), "me/systems/box.json", "[]");
        let tree = Tree::find(root.path()).unwrap();
        let error = tree.systems[0].read_description().unwrap_err().to_string();
        assert!(error.contains("box.json is not a JSON object"), "{error}");
    }

    #[test]
    fn rounds_are_read_from_folder_names() {
        assert_eq!(round_named("v2.0").as_deref(), Some("2.0.0"));
        assert_eq!(round_named("training_results_v0.7").as_deref(), Some("0.7.0"));
        for other in ["ngc22.04", "gpu-v100-8", "v", "rev2.0", "v2", "v2.x"] {
            assert_eq!(round_named(other), None, "{other}");
        }
        let error = guess_ruleset(Path::new("/v9.0/a/result_0.txt")).unwrap_err();
        assert!(error.to_string().contains("9.0.0"), "{error}");
    }
}
