//! Checks that the reference tools do not make: whether logs, description, code and runs are
//! consistent.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::benchmark::num_dropped;
use super::code::Code;
use super::description::Description;
use super::finding::Findings;
use super::inventory::Inventory;
use super::score::{RunScore, SystemScore, olympic_mean};
use super::small_file::read_small;
use super::system::Availability;
use crate::{compliance::Report, hash::sha256_of};

/// Checks what belongs to no single system: license and code.
pub(super) fn whole(
    root: &Path,
    inventory: &Inventory,
    benchmarks: &BTreeSet<&str>,
    findings: &mut Findings,
) {
    let files = || inventory.files.iter();
    if !files().any(|file| file.parent() == Some(Path::new("")) && starts(file, "LICENSE")) {
        findings.add(Code::NoLicense, Path::new("LICENSE"), "it does not exist");
    }
    for benchmark in benchmarks {
        let implementations = Path::new("benchmarks").join(benchmark).join("implementations");
        let code = || files().filter(|file| file.starts_with(&implementations));
        if !code().any(|file| starts(file, "README")) || code().count() < 2 {
            let message = "no implementation has code and a README";
            findings.add(Code::NoImplementation, &implementations, message);
        }
    }
    if let Some(name) = root.file_name().and_then(|name| name.to_str()) {
        submitters(root, name, inventory, findings);
    }
}

fn starts(file: &Path, start: &str) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
}

/// Compares the submitters in the descriptions with the folder's name.
fn submitters(root: &Path, folder: &str, inventory: &Inventory, findings: &mut Findings) {
    let plain = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let systems = inventory.files.iter().filter(|file| file.parent() == Some(Path::new("systems")));
    for path in systems.filter(|file| file.extension().is_some_and(|end| end == "json")) {
        // An unreadable description has a finding already.
        let description = Description::read(root, path, &mut Findings::default());
        let Some(submitter) = description.as_ref().and_then(|it| it.text("submitter")) else {
            continue;
        };
        if plain(submitter) != plain(folder) {
            let message = format!("submitter is {submitter:?}, but the folder is {folder:?}");
            findings.add(Code::SubmitterDiffers, path, message);
        }
    }
}

/// The results of one system and its description.
pub(super) struct System<'a> {
    pub(super) path: &'a Path,
    pub(super) description: Option<&'a Description>,
    /// Logs by their paths in the tree.
    pub(super) reports: &'a [(PathBuf, &'a Report)],
    pub(super) score: &'a SystemScore,
}

impl System<'_> {
    pub(super) fn check(&self, findings: &mut Findings) {
        for (path, report) in self.reports {
            self.log(path, report, findings);
        }
        self.settings(findings);
        self.same_logs(findings);
        self.overlaps(findings);
        self.aborted(findings);
        self.numbering(findings);
        self.scaling(findings);
    }

    /// Compares one log with the description.
    fn log(&self, path: &Path, report: &Report, findings: &mut Findings) {
        let Some(description) = self.description else { return };
        if let (Some(logged), Some(described)) = (&report.division, description.text("division"))
            && !logged.eq_ignore_ascii_case(described)
        {
            let message = format!("its division is {logged}, the description's {described}");
            findings.add(Code::DivisionDiffers, path, message);
        }
        let described = description.text("status");
        let logged = report.availability.as_deref();
        if let (Some(logged), Some(described)) = (logged, described)
            && let (Some(one), Some(other)) =
                (Availability::named(logged), Availability::named(described))
            && one != other
        {
            let message = format!("its status is {logged}, the description's {described:?}");
            findings.add(Code::StatusDiffers, path, message);
        }
    }

    /// All runs must have the hyperparameters of the first.
    fn settings(&self, findings: &mut Findings) {
        let Some(((first, reference), others)) = self.reports.split_first() else { return };
        let first = first.file_name().unwrap_or_default().to_string_lossy();
        for (path, report) in others {
            if let Some((key, theirs, ours)) = reference.settings.difference(&report.settings) {
                let message = format!("{key} is {ours}, but {theirs} in {first}");
                findings.add(Code::RunsDiffer, path, message);
            }
        }
    }

    fn same_logs(&self, findings: &mut Findings) {
        let length = |report: &Report| report.path.metadata().ok().map(|it| it.len());
        let lengths: Vec<_> = self.reports.iter().map(|(_, report)| length(report)).collect();
        let mut seen: HashMap<String, &Path> = HashMap::new();
        for ((path, report), length) in self.reports.iter().zip(&lengths) {
            // Only a log of the same length is worth reading again.
            if lengths.iter().filter(|other| *other == length).count() < 2 {
                continue;
            }
            let Ok(hash) = sha256_of(&report.path) else { continue };
            if let Some(first) = seen.get(&hash.sha256) {
                let first = first.file_name().unwrap_or_default().to_string_lossy();
                findings.add(Code::SameLog, path, format!("it is the same log as {first}"));
            } else {
                seen.insert(hash.sha256, path);
            }
        }
    }

    fn overlaps(&self, findings: &mut Findings) {
        let mut timed: Vec<_> = self
            .reports
            .iter()
            .filter_map(|(path, report)| Some((report.timing?, path)))
            .filter(|(timing, _)| timing.minutes > 0.0)
            .collect();
        timed.sort_by(|a, b| a.0.start_ms.total_cmp(&b.0.start_ms));
        for pair in timed.windows(2) {
            let [(earlier, first), (later, path)] = pair else { continue };
            if later.start_ms < earlier.stop_ms {
                let first = first.file_name().unwrap_or_default().to_string_lossy();
                let message = format!("its clock started before that of {first} stopped");
                findings.add(Code::RunsOverlap, path, message);
            }
        }
    }

    /// By the rules an aborted run counts as the slowest, and a second one invalidates the result.
    fn aborted(&self, findings: &mut Findings) {
        let Some(theirs) = self.score.olympic_minutes else { return };
        let runs = &self.score.runs;
        let converged = runs.iter().filter(|run| run.status.as_deref() == Some("success"));
        let minutes: Vec<f64> = converged.filter_map(RunScore::counted).collect();
        let num_failed = runs.len() - minutes.len();
        let by_rule = olympic_mean(&minutes, num_failed, num_dropped(&self.score.benchmark));
        if by_rule.is_none_or(|by_rule| by_rule > theirs) {
            let by_rule = by_rule.map_or("none".into(), |it| format!("{it:.4} min"));
            let message =
                format!("the score is {theirs:.4} min; without aborted runs it is {by_rule}");
            findings.add(Code::AbortedCounts, self.path, message);
        }
    }

    fn numbering(&self, findings: &mut Findings) {
        let number = |path: &PathBuf| -> Option<u64> {
            path.file_stem()?.to_str()?.strip_prefix("result_")?.parse().ok()
        };
        let mut numbers: Vec<_> = self.reports.iter().map(|(path, _)| number(path)).collect();
        numbers.sort_unstable();
        let row = |first: u64| (first..).take(numbers.len()).map(Some).eq(numbers.iter().copied());
        if !numbers.is_empty() && !row(0) && !row(1) {
            let message = "the numbers of result_N.txt have a gap, or a file has no number";
            findings.add(Code::Numbering, self.path, message);
        }
    }

    /// A factor in the tree must be the one that the convergence test requires.
    fn scaling(&self, findings: &mut Findings) {
        let path = self.path.join("scaling.json");
        let whole = self.score.results.folder.join("scaling.json");
        if whole.symlink_metadata().is_err() {
            return;
        }
        let factor = read_small(&whole).ok().and_then(|text| {
            let members: Value = serde_json::from_str(&text).ok()?;
            members.get("scaling_factor")?.as_f64()
        });
        let wanted = self.score.scaling();
        // Two ways to compute a mean may differ by a rounding error.
        if factor.is_none_or(|factor| (factor - wanted).abs() > 1e-9) {
            let found = factor.map_or_else(|| "no number".to_owned(), |it| it.to_string());
            let message = format!("it has {found}; the factor is {wanted}");
            findings.add(Code::StaleScaling, &path, message);
        }
    }
}
