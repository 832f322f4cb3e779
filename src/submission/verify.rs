//! Verifies a submission's tree: what the reference's package checker, seed checker and repository
//! checker would report, and what we report in addition.
//!
//! The tree may come from anywhere. Nothing in it is written, links to folders are followed only
//! where the reference follows them, and pipes and devices are not opened.

use std::path::{Path, PathBuf};

use super::checksums::verify_checksums;
use super::code::{Code, Tool};
use super::consistency;
use super::finding::{Finding, Findings};
use super::inventory::Inventory;
use super::listing::subfolders;
use super::package_checker::PackageChecker;
use super::score::SystemScore;
use crate::compliance::{Report, Ruleset, Severity, Strictness};

/// The result of a verification.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The submitter's folder.
    pub submission: PathBuf,
    /// The ruleset.
    pub ruleset: Ruleset,
    /// Findings about the tree, the most serious first.
    pub findings: Vec<Finding>,
    /// One entry for each folder with results.
    pub systems: Vec<SystemVerdict>,
    /// Whether the reference compares seeds, which it does if there is a closed system.
    pub compares_seeds: bool,
}

/// One system of a submission.
#[derive(Clone, Debug)]
pub struct SystemVerdict {
    /// Its score.
    pub score: SystemScore,
    /// The reports on its logs, by name.
    pub reports: Vec<Report>,
}

impl Verdict {
    /// Whether `package_checker` accepts, including seeds.
    pub fn package_checker_accepts(&self) -> bool {
        !self.has_error_of(&[Tool::PackageChecker, Tool::SeedChecker])
    }

    /// Whether its seed test accepts; `None` if the reference does not run it.
    pub fn seed_checker_accepts(&self) -> Option<bool> {
        self.compares_seeds.then(|| !self.has_error_of(&[Tool::SeedChecker]))
    }

    /// Whether the reference gets as far as its seed test. It does not if it ends in a traceback
    /// before, in a description or in a log.
    pub fn reaches_seed_checker(&self) -> bool {
        !self.findings.iter().any(|finding| finding.code.crashes_before_seeds())
    }

    /// Whether `repo_checker` accepts.
    pub fn repo_checker_accepts(&self) -> bool {
        !self.has_error_of(&[Tool::RepoChecker])
    }

    /// Whether all of them accept.
    pub fn reference_accepts(&self) -> bool {
        self.package_checker_accepts() && self.repo_checker_accepts()
    }

    /// Whether the submission passes: the reference accepts it, and there is no fault in the tree
    /// or its logs unless `strictness` tolerates faults.
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

/// Submitters' folders: `folder` itself or folders at most three levels below it.
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

/// Verifies the submission at `root` under `ruleset`. With `strictness`, warnings of the compliance
/// checker reject a log, as `--werror` does in the reference.
pub fn verify(root: &Path, ruleset: Ruleset, strictness: Strictness) -> Verdict {
    let mut findings = Findings::default();
    let inventory = Inventory::of(root, &mut findings);
    let systems = PackageChecker { root, ruleset, strictness, findings: &mut findings }.systems();
    let benchmarks = systems.iter().map(|(_, system)| system.score.benchmark.as_str());
    consistency::whole(root, &inventory, &benchmarks.collect(), &mut findings);
    if systems.is_empty() {
        let message = format!("no system has results of a benchmark of {ruleset}");
        findings.add(Code::NothingSubmitted, Path::new(""), message);
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
