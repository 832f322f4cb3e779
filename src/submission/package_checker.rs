//! Checks descriptions and results in the order of the reference's package checker.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::benchmark::{is_benchmark, num_dropped, num_runs, of_round};
use super::code::Code;
use super::consistency;
use super::description::Description;
use super::finding::Findings;
use super::layout::{SystemResults, is_result};
use super::listing::{names, subfolders, visible};
use super::power::check_power;
use super::rcp::RcpObstacle;
use super::score::{SystemScore, convergence};
use super::seeds::{advise_open_seeds, check_seeds};
use super::small_file::read_small;
use super::verify::SystemVerdict;
use crate::compliance::{ConvergenceUnit, Report, Ruleset, Strictness, check_files};

/// Parameters of the package checker, in the results folder of a system or a benchmark.
const PARAMS: &str = "package_checker_params";
/// The largest log that is read, in bytes.
const MAX_LOG_BYTES: u64 = 1 << 30;

/// One folder of results.
struct Folder {
    benchmark: String,
    results: SystemResults,
    /// Relative to the submission's folder.
    path: PathBuf,
    description: Option<Description>,
}

impl Folder {
    fn log(&self, report: &Report) -> PathBuf {
        self.path.join(report.path.file_name().unwrap_or_default())
    }
}

pub(super) struct PackageChecker<'a> {
    pub(super) root: &'a Path,
    pub(super) ruleset: Ruleset,
    pub(super) strictness: Strictness,
    pub(super) findings: &'a mut Findings,
}

impl PackageChecker<'_> {
    /// Checks descriptions and results. Returns, per system, whether the reference compares its
    /// seeds.
    pub(super) fn systems(mut self) -> Vec<(bool, SystemVerdict)> {
        self.descriptions();
        let folders = self.folders();
        let read = self.with_reports(folders);
        read.into_iter().map(|(folder, reports)| self.system(&folder, reports)).collect()
    }

    /// Checks all descriptions that the reference checks before the results.
    fn descriptions(&mut self) {
        if self.ruleset < Ruleset::V1_0_0 {
            return;
        }
        for file in visible(&names(&self.root.join("systems"))) {
            let path = Path::new("systems").join(&file);
            let Some(system) = file.strip_suffix(".json") else { continue };
            if let Some(description) = Description::read(self.root, &path, self.findings) {
                description.check(self.ruleset, &path, self.findings);
            }
            let results = Path::new("results").join(system);
            if !self.root.join(results).is_dir() {
                self.findings.add(Code::UnusedDescription, &path, "it has no folder in results");
            }
        }
    }

    /// Folders of results of the round's benchmarks, by system. The reference skips all others.
    fn folders(&mut self) -> Vec<Folder> {
        let results = Path::new("results");
        if !self.root.join(results).is_dir() {
            self.findings.add(Code::NoResults, results, "it does not exist");
            return Vec::new();
        }
        let mut folders = Vec::new();
        for system in subfolders(&self.root.join(results)) {
            let name = system.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let path = results.join(&name);
            let benchmarks = subfolders(&system);
            if benchmarks.is_empty() {
                continue;
            }
            let description = self.description_of(&name, &path);
            for folder in benchmarks {
                let benchmark = folder.file_name().unwrap_or_default().to_string_lossy();
                let path = path.join(&*benchmark);
                if of_round(self.ruleset).contains(&&*benchmark) {
                    let results = self.results(&folder, &name, &benchmark);
                    let (benchmark, description) = (benchmark.into(), description.clone());
                    folders.push(Folder { benchmark, results, path, description });
                } else if is_benchmark(&benchmark) {
                    let message = format!("ruleset {} does not have it", self.ruleset);
                    self.findings.add(Code::OtherBenchmark, &path, message);
                } else {
                    self.findings.add(Code::UnknownFile, &path, "it was not checked");
                }
            }
        }
        folders
    }

    fn description_of(&mut self, system: &str, results: &Path) -> Option<Description> {
        let path = Path::new("systems").join(format!("{system}.json"));
        if !self.root.join(&path).exists() {
            let message = format!("{} does not exist", path.display());
            self.findings.add(Code::NoDescription, results, message);
            return None;
        }
        // Its problems have findings already, unless the reference has not looked at it so far.
        let mut first_look = Findings::default();
        let is_new = self.ruleset < Ruleset::V1_0_0 || system.starts_with('.');
        let findings = if is_new { &mut *self.findings } else { &mut first_look };
        let description = Description::read(self.root, &path, findings)?;
        if is_new {
            description.check(self.ruleset, &path, findings);
            if !description.members.contains_key("division") {
                findings.add(Code::MissingField, &path, "division is missing");
            }
        }
        Some(description)
    }

    fn results(&self, folder: &Path, system: &str, benchmark: &str) -> SystemResults {
        let submitter = self.root.file_name().map(|name| name.to_string_lossy().into_owned());
        let names = visible(&names(folder));
        SystemResults {
            folder: folder.into(),
            logs: names.iter().filter(|it| is_result(it)).map(|it| folder.join(it)).collect(),
            system: system.into(),
            benchmark: Some(benchmark.into()),
            submitter,
            description: Some(self.root.join("systems").join(format!("{system}.json"))),
        }
    }

    /// Reads the logs of all folders in parallel.
    fn with_reports(&mut self, folders: Vec<Folder>) -> Vec<(Folder, Vec<Report>)> {
        let mut jobs = Vec::new();
        for folder in &folders {
            for log in &folder.results.logs {
                let path = folder.path.join(log.file_name().unwrap_or_default());
                match log.metadata() {
                    Ok(metadata) if !metadata.is_file() => {
                        self.findings.add(Code::LogUnreadable, &path, "it is not a file");
                    }
                    Ok(metadata) if metadata.len() > MAX_LOG_BYTES => {
                        self.findings.add(Code::LogUnreadable, &path, "it is larger than 1 GiB");
                    }
                    Ok(_) => jobs.push((log.clone(), self.ruleset)),
                    Err(error) => {
                        self.findings.add(Code::LogUnreadable, &path, error.to_string());
                    }
                }
            }
        }
        let mut answers = check_files(&jobs).into_iter().zip(jobs).peekable();
        let mut with_reports = Vec::new();
        for folder in folders {
            let mut reports = Vec::new();
            while let Some((answer, (log, _))) =
                answers.next_if(|(_, (log, _))| log.parent() == Some(&folder.results.folder))
            {
                match answer {
                    Ok(report) => reports.push(report),
                    Err(error) => {
                        let path = folder.path.join(log.file_name().unwrap_or_default());
                        self.findings.add(Code::LogUnreadable, &path, error.to_string());
                    }
                }
            }
            with_reports.push((folder, reports));
        }
        with_reports
    }

    /// Checks one folder of results. Returns whether the reference compares its seeds.
    fn system(&mut self, folder: &Folder, mut reports: Vec<Report>) -> (bool, SystemVerdict) {
        if let Some(submitter) = folder.description.as_ref().and_then(|it| it.text("submitter")) {
            for report in &mut reports {
                report.advise_submitter(submitter);
            }
        }
        self.count(folder);
        self.rejections(folder, &reports);
        let closed = folder.description.as_ref().is_some_and(Description::is_closed)
            && self.ruleset >= Ruleset::V1_0_0;
        let named: Vec<_> = reports.iter().map(|report| (folder.log(report), report)).collect();
        if closed {
            let bypass = self.bypass(folder);
            if !bypass.seeds {
                check_seeds(&named, self.findings);
            }
            self.convergence(folder, &reports, &bypass);
        } else {
            advise_open_seeds(&named, self.findings);
        }
        let members = folder.description.as_ref().map(|description| &description.members);
        let division = reports.iter().find_map(|report| report.division.as_deref());
        let score =
            SystemScore::described(&folder.results, self.ruleset, members, (&reports, division));
        let system = consistency::System {
            path: &folder.path,
            description: folder.description.as_ref(),
            reports: &named,
            score: &score,
        };
        system.check(self.findings);
        (closed, SystemVerdict { score, reports })
    }

    fn count(&mut self, folder: &Folder) {
        let num_logs = folder.results.logs.len();
        let wanted = num_runs(&folder.benchmark);
        if num_logs != wanted {
            let message = format!("found {num_logs} result_*.txt; {wanted} are required");
            self.findings.add(Code::RunCount, &folder.path, message);
        }
        for name in visible(&names(&folder.results.folder)) {
            let path = folder.path.join(&name);
            if !is_result(&name) && ![PARAMS, "scaling.json", "power"].contains(&&*name) {
                let message = "it is neither a log named result_N.txt nor another known file";
                self.findings.add(Code::UnknownFile, &path, message);
            }
        }
    }

    /// Finds the runs that are rejected because of their logs or power measurements.
    fn rejections(&mut self, folder: &Folder, reports: &[Report]) {
        let mut rejected = BTreeMap::new();
        for report in reports {
            if report.reference_crashes {
                let message = format!("the compliance checker crashes: {}", first_error(report));
                self.findings.add(Code::LogCrashes, &folder.log(report), message);
            } else if !report.accepted(Strictness { faults_reject: false, ..self.strictness }) {
                rejected.insert(stem(&report.path), first_error(report));
            }
        }
        let power = folder.results.folder.join("power");
        if power.exists() {
            let logs: Vec<_> = folder.results.logs.iter().map(|log| stem(log)).collect();
            let path = folder.path.join("power");
            let runs = check_power(&power, &path, &logs, self.findings).unwrap_or_default();
            for run in runs {
                rejected
                    .entry(run)
                    .or_insert_with(|| "its power measurements are incomplete".into());
            }
        }
        let names: Vec<_> = rejected.keys().map(String::as_str).collect();
        if names.len() <= num_dropped(&folder.benchmark) {
            for name in names {
                let message = format!("it is rejected: {}", rejected[name]);
                let path = folder.path.join(format!("{name}.txt"));
                self.findings.add(Code::OneRunFailed, &path, message);
            }
        } else {
            let message = format!("{} runs are rejected: {}", names.len(), names.join(", "));
            self.findings.add(Code::TooManyFailed, &folder.path, message);
        }
    }

    fn bypass(&mut self, folder: &Folder) -> Bypass {
        let mut bypass = Bypass::default();
        for place in [folder.path.parent(), Some(&*folder.path)].into_iter().flatten() {
            let path = place.join(PARAMS);
            if !self.root.join(&path).exists() {
                continue;
            }
            match read_small(&self.root.join(&path)) {
                Ok(text) => self.read_params(&text, &path, &mut bypass),
                Err(error) => self.findings.add(Code::Unreadable, &path, error.to_string()),
            }
        }
        bypass
    }

    fn read_params(&mut self, text: &str, path: &Path, bypass: &mut Bypass) {
        let lines: Vec<&str> = text.split(['\n', '\r']).collect();
        let words =
            [("rcp-bypass", &mut bypass.convergence), ("seed-checker-bypass", &mut bypass.seeds)];
        for (word, asked) in words {
            // The reference compares lines including their line ends, so a word counts only on a
            // last line without one.
            if lines.last() == Some(&word) {
                *asked = true;
                self.findings.add(Code::BypassUsed, path, format!("it says {word}"));
            } else if lines.iter().any(|line| line.trim() == word) {
                self.findings.add(Code::BypassIdle, path, format!("it says {word}"));
            }
        }
    }

    /// The convergence test, as the package checker runs it.
    fn convergence(&mut self, folder: &Folder, reports: &[Report], bypass: &Bypass) {
        let Some(test) = convergence(&folder.benchmark, self.ruleset, reports) else { return };
        let stops = |report: &Report| Some((report.convergence.untestable?, folder.log(report)));
        if let Some((line, log)) = reports.iter().find_map(stops) {
            let unit = ConvergenceUnit::of(&folder.benchmark, self.ruleset).as_str();
            let message =
                format!("line {line} lacks {unit}, metric or status; the test crashes there");
            return self.findings.add(Code::ConvergenceUntested, &log, message);
        }
        match test {
            Ok(check) if !check.passed && !bypass.convergence => {
                self.findings.add(Code::ConvergenceFailed, &folder.path, check.result());
            }
            Err(RcpObstacle::AboveAll { .. }) if bypass.convergence => {}
            Err(obstacle) => {
                self.findings.add(Code::ConvergenceUntested, &folder.path, obstacle.to_string());
            }
            Ok(_) => {}
        }
    }
}

/// Tests that `package_checker_params` disables.
#[derive(Default)]
struct Bypass {
    seeds: bool,
    convergence: bool,
}

/// `result_0` of `result_0.txt`.
fn stem(log: &Path) -> String {
    log.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn first_error(report: &Report) -> String {
    let error = report.findings.first().map(|it| format!("{}: {}", it.code, it.message));
    error.unwrap_or_else(|| "the reason is unknown".into())
}
