//! Verifies a submission's tree: what the reference's package checker, seed checker and repository
//! checker would say of it, and what we find fault with beyond.
//!
//! The tree may come from anywhere: nothing in it is written, no link to a folder is followed but
//! where the reference follows it, no pipe or device is opened.
//!
//! Known to differ from the reference: other benchmarks are not judged.

use std::path::{Path, PathBuf};

use super::checksums::verify_checksums;
use super::code::{Code, Tool};
use super::consistency;
use super::finding::{Finding, Findings};
use super::inventory::Inventory;
use super::judge::Judge;
use super::listing::subfolders;
use super::score::SystemScore;
use crate::compliance::{Report, Ruleset, Severity, Strictness};

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
    let systems = Judge { root, ruleset, strictness, findings: &mut findings }.systems();
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
