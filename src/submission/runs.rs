//! Runs as the launcher writes them, and the choice of those to submit.
//!
//! The rules (submission set of training results): whoever makes more runs than required submits
//! the required number of consecutive runs whose score is the median of the scores of all such
//! windows.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::benchmark::NUM_RUNS;
use super::error::PackageError;
use super::score::{RunScore, olympic_mean};
use super::small_file::read_small;
use crate::{
    compliance::{Report, Ruleset, RunTiming, check_files},
    data::StoreDivision,
    hash::sha256_of,
    mlperf::Division,
    run_dir::{self, RunManifest},
};

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// `run_N`.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: RunManifest,
    /// The resolved recipe, without what differs between runs: seeds, the folder of images and how
    /// many runs were asked for.
    pub recipe: Table,
    /// The report on its log.
    pub report: Report,
    /// Its timed part.
    pub timing: RunTiming,
}

/// The runs of one system, by start time.
#[derive(Clone, Debug)]
pub struct RunSet {
    /// Name of the system's folder.
    pub system: String,
    /// The ruleset of the runs.
    pub ruleset: Ruleset,
    /// At least the required number of runs.
    pub runs: Vec<Run>,
    /// Index range of the chosen runs.
    pub chosen: Range<usize>,
}

impl RunSet {
    /// The runs in `dirs`, which are folders of systems or of runs.
    pub fn gather(dirs: &[PathBuf]) -> Result<Vec<Self>, PackageError> {
        let mut systems: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for dir in dirs {
            for folder in run_folders(dir)? {
                let system = folder.parent().and_then(Path::file_name).unwrap_or_default();
                let runs = systems.entry(system.to_string_lossy().into_owned()).or_default();
                if !runs.contains(&folder) {
                    runs.push(folder);
                }
            }
        }
        systems.into_iter().map(|(system, folders)| Self::of(system, &folders)).collect()
    }

    fn of(system: String, folders: &[PathBuf]) -> Result<Self, PackageError> {
        let mut drafts = folders.iter().map(|folder| Draft::read(folder));
        let drafts = drafts.by_ref().collect::<Result<Vec<_>, _>>()?;
        let first = &drafts[0];
        for other in &drafts[1..] {
            if let Some((what, ours, theirs)) = first.difference(other) {
                let (one, other) = (first.folder.clone(), other.folder.clone());
                return Err(PackageError::RunsDiffer { one, other, what, ours, theirs });
            }
        }
        drafts.iter().try_for_each(Draft::check_division)?;
        drafts.iter().try_for_each(Draft::check_whole)?;
        let ruleset: Ruleset = first.manifest.ruleset.parse()?;
        if ruleset > Ruleset::LAST_WITH_RESNET {
            return Err(PackageError::WithoutResnet(ruleset));
        }
        let jobs: Vec<_> = drafts.iter().map(|draft| (draft.log(), ruleset)).collect();
        let reports = check_files(&jobs).into_iter().zip(drafts);
        let runs = reports.map(|(report, draft)| {
            let report =
                report.map_err(|source| PackageError::Read { path: draft.log(), source })?;
            draft.whole(report)
        });
        let mut runs = runs.collect::<Result<Vec<_>, _>>()?;
        runs.sort_by(|a, b| a.timing.start_ms.total_cmp(&b.timing.start_ms));
        let minutes: Vec<_> = runs.iter().map(|run| RunScore::of(&run.report).counted()).collect();
        let chosen = median_window(&minutes).ok_or_else(|| PackageError::TooFewRuns {
            system: system.clone(),
            num_runs: runs.len(),
            recipe: runs[0].manifest.recipe.name.clone(),
        })?;
        Ok(Self { system, ruleset, runs, chosen })
    }

    /// The runs to submit.
    pub fn chosen(&self) -> &[Run] {
        &self.runs[self.chosen.clone()]
    }
}

/// The window of consecutive runs whose score is the median; the slower one of two middle ones. A
/// window with two failed runs counts as slower than all others. `None` if there are too few runs.
fn median_window(minutes: &[Option<f64>]) -> Option<Range<usize>> {
    let score = |window: &[Option<f64>]| {
        let counted: Vec<f64> = window.iter().copied().flatten().collect();
        olympic_mean(&counted, window.len() - counted.len(), 1).unwrap_or(f64::INFINITY)
    };
    let mut windows: Vec<_> = minutes.windows(NUM_RUNS).map(score).enumerate().collect();
    // A stable sort: of equal windows the earliest.
    windows.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (first, _) = *windows.get(windows.len() / 2)?;
    Some(first..first + NUM_RUNS)
}

/// The `run_N` folders that `dir` is or contains, by name.
fn run_folders(dir: &Path) -> Result<Vec<PathBuf>, PackageError> {
    let read = |source| PackageError::Read { path: dir.into(), source };
    let whole = dir.canonicalize().map_err(read)?;
    if whole.join(run_dir::MANIFEST).is_file() {
        return Ok(vec![whole]);
    }
    let entries = fs::read_dir(&whole).map_err(read)?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>();
    let mut folders = paths.map_err(read)?;
    folders.retain(|path| path.is_dir() && number(path).is_some());
    folders.sort_by_key(|path| number(path));
    if folders.is_empty() {
        return Err(PackageError::NoRuns(dir.into()));
    }
    Ok(folders)
}

/// N of `run_N`.
fn number(folder: &Path) -> Option<usize> {
    folder.file_name()?.to_str()?.strip_prefix("run_")?.parse().ok()
}

/// A run whose log has not been checked yet.
struct Draft {
    folder: PathBuf,
    manifest: RunManifest,
    recipe: Table,
}

impl Draft {
    fn read(folder: &Path) -> Result<Self, PackageError> {
        let read = |name: &str| {
            let path = folder.join(name);
            read_small(&path).map_err(|source| PackageError::Read { path, source })
        };
        let damaged = |name: &str, message: String| PackageError::Damaged {
            path: folder.join(name),
            message,
        };
        let manifest = serde_json::from_str(&read(run_dir::MANIFEST)?)
            .map_err(|error| damaged(run_dir::MANIFEST, error.to_string()))?;
        let mut recipe: Table = toml::from_str(&read(run_dir::RECIPE)?)
            .map_err(|error| damaged(run_dir::RECIPE, error.message().to_owned()))?;
        forget_what_differs(&mut recipe);
        Ok(Self { folder: folder.into(), manifest, recipe })
    }

    fn log(&self) -> PathBuf {
        self.folder.join(run_dir::LOG)
    }

    /// Properties that all runs of a system must have in common, by name.
    fn shared(&self) -> [(&'static str, String); 11] {
        let RunManifest { ruleset, recipe, world_size, device, data_set, .. } = &self.manifest;
        [
            ("recipe", recipe.name.clone()),
            ("ruleset", ruleset.clone()),
            ("division", self.manifest.division.as_str().to_owned()),
            ("number of ranks", world_size.to_string()),
            ("device", format!("{device:?}").to_lowercase()),
            ("images (sha256 of their names)", data_set.listing_sha256.clone()),
            (
                "store (sha256 of its manifest)",
                data_set.store_sha256.clone().unwrap_or("none".into()),
            ),
            ("libtorch", self.manifest.libtorch.clone()),
            ("commit", self.manifest.commit.clone().unwrap_or("unknown".into())),
            ("program (sha256)", self.manifest.program.sha256.clone()),
            ("machine", self.manifest.host.clone()),
        ]
    }

    /// The first property in which two runs differ, with both values.
    fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let mut shared = self.shared().into_iter().zip(other.shared());
        let found = shared.find(|((_, ours), (_, theirs))| ours != theirs);
        let found = found.map(|((what, ours), (_, theirs))| (what.to_owned(), ours, theirs));
        found.or_else(|| first_difference(&self.recipe, &other.recipe))
    }

    /// MLPerf's clock does not stop for an interruption, and its runs begin with random weights.
    fn check_whole(&self) -> Result<(), PackageError> {
        let RunManifest { resumed, weights, .. } = &self.manifest;
        match (resumed, weights) {
            (Some(_), _) => Err(PackageError::Resumed(self.folder.clone())),
            (_, Some(_)) => Err(PackageError::Pretrained(self.folder.clone())),
            (None, None) => Ok(()),
        }
    }

    /// The closed division requires unmodified images.
    fn check_division(&self) -> Result<(), PackageError> {
        if self.manifest.division == Division::Open {
            return Ok(());
        }
        let data = &self.manifest.data_set;
        let reason = match (data.store_division, &data.synth) {
            (Some(StoreDivision::OpenOnly), _) => "a store of shrunk images",
            (_, Some(_)) => "the built-in image set",
            _ => return Ok(()),
        };
        Err(PackageError::OpenImages { folder: self.folder.clone(), reason })
    }

    /// The log must belong to the run: it has the run's seed and the lines of the published result.
    fn check_log(&self, report: &Report) -> Result<(), PackageError> {
        let foreign =
            |reason: String| Err(PackageError::ForeignLog { folder: self.folder.clone(), reason });
        let seed = self.manifest.seed.to_string();
        if let Some(logged) = report.seeds.first().and_then(|first| first.value.as_ref())
            && *logged != seed
        {
            return foreign(format!("seed {logged}, manifest.json {seed}"));
        }
        let Some(number) = number(&self.folder) else { return Ok(()) };
        let result = format!("{}/{}", run_dir::BENCHMARK, run_dir::result_name(number));
        let published = self.folder.parent().map(|system| system.join(&result));
        let published = published.filter(|path| path.is_file());
        match published.map(|path| sha256_of(&path)).transpose() {
            Ok(Some(hash)) if sha256_of(&report.path).is_ok_and(|own| own != hash) => {
                foreign(format!("other lines than {result}"))
            }
            _ => Ok(()),
        }
    }

    fn whole(self, report: Report) -> Result<Run, PackageError> {
        let Some(timing) = report.timing.filter(|timing| timing.minutes > 0.0) else {
            return Err(PackageError::NotStopped(self.folder));
        };
        self.check_log(&report)?;
        let Self { folder, manifest, recipe } = self;
        Ok(Run { folder, manifest, recipe, report, timing })
    }
}

/// Removes what differs between runs or machines from a resolved recipe.
fn forget_what_differs(recipe: &mut Table) {
    let seed = section(recipe, "run").and_then(|run| run.remove("seed"));
    if let Some(data) = section(recipe, "data") {
        data.remove("path");
        if data.get("order_seed") == seed.as_ref() {
            data.remove("order_seed");
        }
    }
    // Whoever repeats a failed run asks for fewer runs.
    if let Some(mlperf) = section(recipe, "mlperf") {
        mlperf.remove("runs");
    }
}

fn section<'a>(recipe: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    recipe.get_mut(name)?.as_table_mut()
}

/// The first key, such as `optimizer.lr`, with different values in the two tables, and the values.
fn first_difference(one: &Table, other: &Table) -> Option<(String, String, String)> {
    let text = |value: Option<&Value>| value.map_or("absent".into(), ToString::to_string);
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    for key in keys {
        let found = match (one.get(key), other.get(key)) {
            (Some(ours), Some(theirs)) if ours == theirs => continue,
            (Some(Value::Table(ours)), Some(Value::Table(theirs))) => {
                first_difference(ours, theirs)
                    .map(|(below, ours, theirs)| (format!("{key}.{below}"), ours, theirs))
            }
            (ours, theirs) => Some((key.clone(), text(ours), text(theirs))),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(minutes: &[f64]) -> Option<Range<usize>> {
        let minutes: Vec<_> = minutes.iter().map(|it| it.is_finite().then_some(*it)).collect();
        median_window(&minutes)
    }

    #[test]
    fn of_more_than_five_runs_those_with_the_median_score_are_chosen() {
        assert_eq!(window(&[1.0; 4]), None);
        assert_eq!(window(&[1.0; 5]), Some(0..5));
        // Scores of the windows: 3, 4, 5; the middle one in any order.
        assert_eq!(window(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), Some(1..6));
        assert_eq!(window(&[7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), Some(1..6));
        // Of two windows, the slower one.
        assert_eq!(window(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), Some(1..6));
        assert_eq!(window(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), Some(0..5));
    }

    #[test]
    fn a_window_with_two_failed_runs_is_the_slowest() {
        let failed = f64::INFINITY;
        // Windows: 2 failed, 2 failed, 1 failed (9, 9, 9: slow but scored).
        assert_eq!(window(&[1.0, failed, failed, 9.0, 9.0, 9.0, 9.0]), Some(0..5));
        assert_eq!(window(&[failed, 9.0, 9.0, 9.0, 9.0, 9.0, failed]), Some(1..6));
    }

    #[test]
    fn recipes_differ_by_key_and_not_by_seed() {
        let recipe = |seed: u64, lr: f64| -> Table {
            let text = format!(
                "[run]\nseed = {seed}\n[data]\norder_seed = {seed}\npath = \"/{seed}\"\n\
                 [optimizer]\nlr = {lr:?}\n"
            );
            let mut recipe = toml::from_str(&text).unwrap();
            forget_what_differs(&mut recipe);
            recipe
        };
        assert_eq!(first_difference(&recipe(1, 0.5), &recipe(2, 0.5)), None);
        let (key, ours, theirs) = first_difference(&recipe(1, 0.5), &recipe(1, 1.5)).unwrap();
        assert_eq!((&*key, &*ours, &*theirs), ("optimizer.lr", "0.5", "1.5"));
    }
}
