//! Finds runs and logs, and sorts them by system.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::ReportError;
use crate::{
    run_dir,
    submission::{SystemResults, is_result},
};

/// What a run left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunSource {
    /// Its number, if its name has one; runs are in this order.
    number: Option<u64>,
    /// `run_0`, `result_0`.
    pub(super) name: String,
    /// The folder `run_N`, if the run is one of ours.
    pub(super) folder: Option<PathBuf>,
    /// Its MLPerf log. It may not exist in the folder of a run that failed early.
    pub(super) log: PathBuf,
}

/// The runs of one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SystemSources {
    /// The system, with the path of its folder of logs. Its logs are not listed.
    pub(super) results: SystemResults,
    /// Its runs, by number.
    pub(super) runs: Vec<RunSource>,
}

/// The runs at `paths`, by system, in the order of `paths`.
pub(super) fn systems(paths: &[PathBuf]) -> Result<Vec<SystemSources>, ReportError> {
    let mut finder = Finder::default();
    for path in paths {
        finder.add(path)?;
    }
    let Finder { order, mut runs } = finder;
    Ok(order.into_iter().filter_map(|system| Some(sorted(runs.remove(&system)?))).collect())
}

fn sorted(mut system: SystemSources) -> SystemSources {
    system.runs.sort();
    system.runs.dedup();
    system
}

#[derive(Default)]
struct Finder {
    /// Folders of systems as they were found.
    order: Vec<PathBuf>,
    runs: BTreeMap<PathBuf, SystemSources>,
}

impl Finder {
    fn add(&mut self, path: &Path) -> Result<(), ReportError> {
        let whole = path
            .canonicalize()
            .map_err(|source| ReportError::Read { path: path.into(), source })?;
        if whole.is_file() {
            self.add_log(&whole);
            return Ok(());
        }
        if is_run(&whole) {
            self.add_run(&whole);
            return Ok(());
        }
        if self.search(&whole)? == 0 {
            return Err(ReportError::NoRuns(path.into()));
        }
        Ok(())
    }

    /// Adds what is below `folder`, and counts it.
    fn search(&mut self, folder: &Path) -> Result<usize, ReportError> {
        let unreadable = |source| ReportError::Read { path: folder.into(), source };
        let entries = fs::read_dir(folder).map_err(unreadable)?;
        let entries = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>();
        let mut entries = entries.map_err(unreadable)?;
        entries.sort();
        let mut num_found = 0;
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A link to a folder above would never end.
            if path.is_symlink() && path.is_dir() {
                continue;
            }
            if path.is_dir() && is_run(&path) {
                self.add_run(&path);
                num_found += 1;
            } else if path.is_dir() {
                num_found += self.search(&path)?;
            } else if is_result(&name) {
                self.add_log(&path);
                num_found += 1;
            }
        }
        Ok(num_found)
    }

    fn add_run(&mut self, folder: &Path) {
        let log = folder.join(run_dir::LOG);
        let system = folder.parent().unwrap_or(folder);
        // The folder of the published logs, also where there are none yet.
        let results = SystemResults::of_log(&system.join(run_dir::BENCHMARK).join("result_0.txt"));
        let source = RunSource {
            number: number(folder),
            name: name(folder),
            folder: Some(folder.into()),
            log,
        };
        self.push(system, results, source);
    }

    fn add_log(&mut self, log: &Path) {
        let folder = log.parent().unwrap_or(Path::new("/"));
        if is_run(folder) {
            return self.add_run(folder);
        }
        let results = SystemResults::of_log(log);
        let is_benchmark = results.benchmark.is_some();
        let system = if is_benchmark { folder.parent().unwrap_or(folder) } else { folder };
        // The published log of one of our runs is a link to the log in the run's folder.
        if let Some(number) = number(log) {
            let run = system.join(run_dir::run_name(number));
            if is_run(&run) {
                return self.add_run(&run);
            }
        }
        if results.benchmark.as_deref().is_some_and(|name| name != run_dir::BENCHMARK) {
            return;
        }
        let source =
            RunSource { number: number(log), name: name(log), folder: None, log: log.into() };
        self.push(system, results, source);
    }

    fn push(&mut self, system: &Path, mut results: SystemResults, source: RunSource) {
        if !self.order.iter().any(|known| known == system) {
            self.order.push(system.into());
        }
        results.logs.clear();
        let entry = self.runs.entry(system.into());
        entry.or_insert(SystemSources { results, runs: Vec::new() }).runs.push(source);
    }
}

/// Whether a launcher made the folder.
fn is_run(folder: &Path) -> bool {
    [run_dir::MANIFEST, run_dir::EVENTS].iter().any(|name| folder.join(name).is_file())
}

/// N of `run_N` and `result_N.txt`.
fn number(path: &Path) -> Option<u64> {
    name(path).rsplit_once('_')?.1.parse().ok()
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn found(root: &Path, paths: &[&str]) -> Vec<(String, Vec<String>)> {
        let paths: Vec<_> = paths.iter().map(|path| root.join(path)).collect();
        let names = |system: SystemSources| {
            (system.results.system, system.runs.into_iter().map(|run| run.name).collect())
        };
        systems(&paths).unwrap().into_iter().map(names).collect()
    }

    #[test]
    fn a_run_and_its_published_log_are_one_run() {
        let root = tempfile::tempdir().unwrap();
        for path in ["box/run_10/events.jsonl", "box/run_2/manifest.json", "box/run_2/mllog.txt"] {
            put(root.path(), path);
        }
        put(root.path(), "box/resnet/result_2.txt");
        put(root.path(), "box/resnet/result_3.txt");
        let runs = ["run_2", "result_3", "run_10"].map(str::to_owned).to_vec();
        let all = [("box".to_owned(), runs)];
        assert_eq!(found(root.path(), &["box"]), all);
        assert_eq!(found(root.path(), &["."]), all);
        let one = [("box".to_owned(), vec!["run_2".to_owned()])];
        for path in ["box/run_2", "box/run_2/mllog.txt", "box/resnet/result_2.txt"] {
            assert_eq!(found(root.path(), &[path, path]), one, "{path}");
        }
    }

    #[test]
    fn systems_of_a_submission_are_found_and_other_benchmarks_are_not() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/resnet/result_0.txt", "a/bert/result_0.txt", "b/resnet/result_1.txt"] {
            put(&root.path().join("v2.0/Somebody/results"), path);
        }
        let found = found(root.path(), &["v2.0"]);
        let systems: Vec<_> = found.iter().map(|(system, runs)| (&**system, runs.len())).collect();
        assert_eq!(systems, [("a", 1), ("b", 1)]);
    }

    #[test]
    fn a_folder_without_runs_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let error = systems(&[root.path().into()]).unwrap_err().to_string();
        assert!(error.contains("has no run_N and no result_*.txt"), "{error}");
        let error = systems(&[root.path().join("nowhere")]).unwrap_err().to_string();
        assert!(error.contains("name an existing run"), "{error}");
    }
}
