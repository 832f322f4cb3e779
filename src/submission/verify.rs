//! Verifies a submission's tree: what the reference's package checker, seed checker and repository
//! checker would say of it, and what we find fault with beyond.
//!
//! The tree may come from anywhere: nothing in it is written, no link to a folder is followed but
//! where the reference follows it, no pipe or device is opened.
//!
//! Known to differ from the reference: other benchmarks and power are not judged.

use std::fs;
use std::path::{Path, PathBuf};

use super::checksums::verify_checksums;
use super::code::{Code, Tool};
use super::consistency;
use super::description::Description;
use super::finding::{Finding, Findings};
use super::inventory::Inventory;
use super::layout::{OTHER_BENCHMARKS, SystemResults};
use super::rcp::{RcpObstacle, RcpTable};
use super::score::{NUM_RUNS, RunScore, SystemScore};
use super::seeds::{advise_open_seeds, check_seeds};
use super::small_file::read_small;
use crate::compliance::{Report, Ruleset, Severity, Strictness, check_files};

/// The parameters of the package checker, in a system's or a benchmark's folder of results.
const PARAMS: &str = "package_checker_params";
/// Bytes of the largest log that is read.
const MAX_LOG_BYTES: u64 = 1 << 30;

/// What there is to say of a submission.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The submitter's folder.
    pub submission: PathBuf,
    /// The rules that it was judged by.
    pub ruleset: Ruleset,
    /// About the tree, the gravest first.
    pub findings: Vec<Finding>,
    /// One for each folder with ResNet results.
    pub systems: Vec<SystemVerdict>,
    /// Whether the reference compares seeds: there is a closed system.
    pub compares_seeds: bool,
}

/// One system of a submission.
#[derive(Clone, Debug)]
pub struct SystemVerdict {
    /// What it scores.
    pub score: SystemScore,
    /// What its logs are like, by name.
    pub reports: Vec<Report>,
}

impl Verdict {
    /// What `package_checker` says, seeds included.
    pub fn package_checker_accepts(&self) -> bool {
        !self.has_error_of(&[Tool::PackageChecker, Tool::SeedChecker])
    }

    /// What the test of seeds within it says; nothing where there is none.
    pub fn seed_checker_accepts(&self) -> Option<bool> {
        self.compares_seeds.then(|| !self.has_error_of(&[Tool::SeedChecker]))
    }

    /// What `repo_checker` says.
    pub fn repo_checker_accepts(&self) -> bool {
        !self.has_error_of(&[Tool::RepoChecker])
    }

    /// Whether all of them accept.
    pub fn reference_accepts(&self) -> bool {
        self.package_checker_accepts() && self.repo_checker_accepts()
    }

    /// Whether the submission passes: the reference accepts it, and faults of the tree and of its
    /// logs do not reject or are not there.
    pub fn accepted(&self, strictness: Strictness) -> bool {
        self.reference_accepts() && !(strictness.faults_reject && self.has_fault())
    }

    fn has_fault(&self) -> bool {
        let mut logs = self.systems.iter().flat_map(|system| &system.reports);
        let of_tree = self.findings.iter().any(|it| it.severity() == Severity::Fault);
        of_tree || logs.any(|log| log.findings.iter().any(|it| it.severity() == Severity::Fault))
    }

    fn has_error_of(&self, tools: &[Tool]) -> bool {
        let is_error = |it: &Finding| it.severity() == Severity::Error;
        self.findings.iter().any(|it| is_error(it) && tools.contains(&it.code.tool()))
    }
}

/// Submitters' folders at `folder` or, at most three levels, below it.
pub fn submissions_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let below = subfolders(&folder);
        let is_one = |path: &PathBuf| path.ends_with("results") || path.ends_with("systems");
        if below.iter().any(is_one) {
            found.push(folder);
        } else if depth < 3 {
            open.extend(below.into_iter().map(|folder| (folder, depth + 1)));
        }
    }
    found.sort_unstable();
    found
}

/// Judges the submission at `root` by the rules of `ruleset`; with `strictness` warnings of the
/// compliance checker reject a log, as with `--werror` there.
pub fn verify(root: &Path, ruleset: Ruleset, strictness: Strictness) -> Verdict {
    let mut findings = Findings::default();
    let inventory = Inventory::of(root, &mut findings);
    let mut judge = Judge { root, ruleset, strictness, findings: &mut findings };
    judge.descriptions();
    let folders = judge.folders();
    let mut systems = Vec::new();
    for (folder, reports) in judge.with_reports(folders) {
        systems.push(judge.system(&folder, reports));
    }
    consistency::whole(root, &inventory, &mut findings);
    if systems.is_empty() {
        findings.add(Code::NothingSubmitted, Path::new(""), "no system has results of ResNet");
    }
    verify_checksums(root, &inventory.files, &mut findings);
    let compares_seeds = systems.iter().any(|(closed, _)| *closed);
    Verdict {
        submission: root.into(),
        ruleset,
        findings: findings.sorted(),
        systems: systems.into_iter().map(|(_, system)| system).collect(),
        compares_seeds,
    }
}

/// One folder of ResNet results.
struct Folder {
    results: SystemResults,
    /// From the submission's folder.
    path: PathBuf,
    description: Option<Description>,
}

impl Folder {
    fn log(&self, report: &Report) -> PathBuf {
        self.path.join(report.path.file_name().unwrap_or_default())
    }
}

struct Judge<'a> {
    root: &'a Path,
    ruleset: Ruleset,
    strictness: Strictness,
    findings: &'a mut Findings,
}

impl Judge<'_> {
    /// Judges all descriptions that the reference looks at before it looks at results.
    fn descriptions(&mut self) {
        if self.ruleset < Ruleset::V1_0_0 {
            return;
        }
        for file in visible(&names(&self.root.join("systems"))) {
            let path = Path::new("systems").join(&file);
            if !file.ends_with(".json") {
                continue;
            }
            if let Some(description) = Description::read(self.root, &path, self.findings) {
                description.judge(self.ruleset, &path, self.findings);
            }
            let results = Path::new("results").join(file.trim_end_matches(".json"));
            if !self.root.join(results).is_dir() {
                self.findings.add(Code::UnusedDescription, &path, "it has no folder in results");
            }
        }
    }

    /// Folders of ResNet results, by system.
    fn folders(&mut self) -> Vec<Folder> {
        let results = Path::new("results");
        if !self.root.join(results).is_dir() {
            self.findings.add(Code::NoResults, results, "it is not there");
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
                if benchmark == "resnet" {
                    let results = self.results(&folder, &name);
                    let description = description.clone();
                    folders.push(Folder { results, path: path.join("resnet"), description });
                } else {
                    let known = OTHER_BENCHMARKS.contains(&&*benchmark);
                    let code = if known { Code::OtherBenchmark } else { Code::UnknownFile };
                    self.findings.add(code, &path.join(&*benchmark), "it was not judged");
                }
            }
        }
        folders
    }

    fn description_of(&mut self, system: &str, results: &Path) -> Option<Description> {
        let path = Path::new("systems").join(format!("{system}.json"));
        if !self.root.join(&path).exists() {
            let message = format!("{} is not there", path.display());
            self.findings.add(Code::NoDescription, results, message);
            return None;
        }
        // What is wrong with it has been said, unless the reference did not look at it so far.
        let mut first_look = Findings::default();
        let is_new = self.ruleset < Ruleset::V1_0_0 || system.starts_with('.');
        let findings = if is_new { &mut *self.findings } else { &mut first_look };
        let description = Description::read(self.root, &path, findings)?;
        if is_new {
            description.judge(self.ruleset, &path, findings);
            if !description.members.contains_key("division") {
                findings.add(Code::MissingField, &path, "division is missing");
            }
        }
        Some(description)
    }

    fn results(&self, folder: &Path, system: &str) -> SystemResults {
        let submitter = self.root.file_name().map(|name| name.to_string_lossy().into_owned());
        let names = visible(&names(folder));
        let is_log = |name: &&String| name.starts_with("result_") && name.ends_with(".txt");
        SystemResults {
            folder: folder.into(),
            logs: names.iter().filter(is_log).map(|name| folder.join(name)).collect(),
            system: system.into(),
            submitter,
            description: Some(self.root.join("systems").join(format!("{system}.json"))),
        }
    }

    /// Reads the logs of all folders at once.
    fn with_reports(&mut self, folders: Vec<Folder>) -> Vec<(Folder, Vec<Report>)> {
        let mut jobs = Vec::new();
        for folder in &folders {
            for log in &folder.results.logs {
                let path = folder.path.join(log.file_name().unwrap_or_default());
                match log.metadata() {
                    Ok(metadata) if !metadata.is_file() => {
                        self.findings.add(Code::LogUnreadable, &path, "it is no file");
                    }
                    Ok(metadata) if metadata.len() > MAX_LOG_BYTES => {
                        self.findings.add(Code::LogUnreadable, &path, "it has more than a GiB");
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

    /// Judges one folder of results; whether the reference compares its seeds.
    fn system(&mut self, folder: &Folder, mut reports: Vec<Report>) -> (bool, SystemVerdict) {
        if let Some(submitter) = folder.description.as_ref().and_then(|it| it.text("submitter")) {
            reports.iter_mut().for_each(|report| report.hold_against(submitter));
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
        system.judge(self.findings);
        (closed, SystemVerdict { score, reports })
    }

    fn count(&mut self, folder: &Folder) {
        let num_logs = folder.results.logs.len();
        if num_logs != NUM_RUNS {
            let message = format!("{num_logs} result_*.txt are there; {NUM_RUNS} are expected");
            self.findings.add(Code::RunCount, &folder.path, message);
        }
        for name in visible(&names(&folder.results.folder)) {
            let path = folder.path.join(&name);
            if name == "power" {
                self.findings.add(Code::PowerNotJudged, &path, "it was not judged");
            } else if !(name.starts_with("result_") && name.ends_with(".txt"))
                && ![PARAMS, "scaling.json"].contains(&name.as_str())
            {
                let message = "it is neither a log named result_N.txt nor known otherwise";
                self.findings.add(Code::UnknownFile, &path, message);
            }
        }
    }

    fn rejections(&mut self, folder: &Folder, reports: &[Report]) {
        let mut rejected = Vec::new();
        for report in reports {
            if report.reference_crashes {
                let message = format!("the compliance checker crashes: {}", first_error(report));
                self.findings.add(Code::LogCrashes, &folder.log(report), message);
            } else if !report.accepted(Strictness { faults_reject: false, ..self.strictness }) {
                rejected.push(report);
            }
        }
        match &rejected[..] {
            [] => {}
            [one] => {
                let message = format!("it is rejected: {}", first_error(one));
                self.findings.add(Code::OneRunFailed, &folder.log(one), message);
            }
            several => {
                let names = several.iter().filter_map(|it| Some(it.path.file_name()?.display()));
                let names = names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
                let message = format!("{} logs are rejected: {names}", several.len());
                self.findings.add(Code::TooManyFailed, &folder.path, message);
            }
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
            // The reference compares lines with their line ends: only a last line without one counts.
            if lines.last() == Some(&word) {
                *asked = true;
                self.findings.add(Code::BypassUsed, path, format!("it says {word}"));
            } else if lines.iter().any(|line| line.trim() == word) {
                self.findings.add(Code::BypassIdle, path, format!("it says {word}"));
            }
        }
    }

    /// The test of convergence, as the package checker makes it.
    fn convergence(&mut self, folder: &Folder, reports: &[Report], bypass: &Bypass) {
        let Some(table) = RcpTable::of(self.ruleset) else { return };
        let stops = |report: &&Report| report.stops_convergence.is_some();
        if let Some(report) = reports.iter().find(stops) {
            let line = report.stops_convergence.unwrap_or_default();
            let message = format!("line {line} lacks an epoch or a status; the test crashes there");
            return self.findings.add(Code::ConvergenceUntested, &folder.log(report), message);
        }
        let runs: Vec<_> = reports.iter().map(|it| RunScore::of(it).convergence()).collect();
        match table.check(&runs) {
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

/// Tests that `package_checker_params` switches off.
#[derive(Default)]
struct Bypass {
    seeds: bool,
    convergence: bool,
}

fn first_error(report: &Report) -> String {
    let error = report.findings.first().map(|it| format!("{}: {}", it.code, it.message));
    error.unwrap_or_else(|| "no reason is known".into())
}

/// Names in a folder, sorted; none if it cannot be read, which the inventory has said.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Those that a shell's `*` finds.
fn visible(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.starts_with('.')).cloned().collect()
}

/// Folders in a folder, and links to some, sorted.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|it| it.is_dir()).collect();
    folders.sort_unstable();
    folders
}
