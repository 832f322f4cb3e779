//! What the checker says about one log.

use std::fmt;
use std::path::{Path, PathBuf};

use super::check::reference_findings;
use super::code::{Code, Severity};
use super::faults::own_findings;
use super::parse::Log;
use super::ruleset::Ruleset;
use super::timing::{Curve, RunTiming};
use crate::mllog::Key;

/// One thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// The key it is about.
    pub key: Option<&'static str>,
    /// Line of the file, from 1, where it can be seen.
    pub line: Option<usize>,
    /// What is wrong, with the values; the cure is the code's.
    pub message: String,
}

impl Finding {
    pub(super) fn of(code: Code, key: Key, line: Option<usize>, message: String) -> Self {
        Self { code, key: Some(key.as_str()), line, message }
    }

    /// How much it weighs.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// What is wrong, cure last.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; {}", self.message, self.code.cure())
    }
}

/// What rejects a log besides errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strictness {
    /// Warnings reject, as with the reference's `--werror`.
    pub warnings_reject: bool,
    /// Faults reject.
    pub faults_reject: bool,
}

/// What the checker says about one log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The rules it was judged by.
    pub ruleset: Ruleset,
    /// The division that it names, whether there is one of this name or not.
    pub division: Option<String>,
    /// `run_stop`'s status.
    pub status: Option<String>,
    /// `submission_org`.
    pub org: Option<String>,
    /// `global_batch_size`.
    pub batch_size: Option<f64>,
    /// Its timed part, if it has both ends.
    pub timing: Option<RunTiming>,
    /// Accuracy by epoch.
    pub curve: Curve,
    /// What is wrong, the gravest first, then by line.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Judges a log that has been read.
    pub fn of(path: &Path, log: &Log, ruleset: Ruleset) -> Self {
        let mut findings = reference_findings(log, ruleset);
        findings.extend(own_findings(log));
        findings.sort_by_key(|finding| (finding.severity(), finding.line.unwrap_or(usize::MAX)));
        let division = log.first("submission_division");
        let status = log.first("run_stop").and_then(|stop| stop.metadata.get("status"));
        Self {
            path: path.into(),
            ruleset,
            division: division.and_then(|record| record.value.as_str()).map(Into::into),
            status: status.and_then(|status| status.as_str()).map(Into::into),
            org: log.first("submission_org").and_then(|org| org.value.as_str()).map(Into::into),
            batch_size: log.first("global_batch_size").and_then(|size| size.value.as_f64()),
            timing: RunTiming::of(log),
            curve: Curve::of(log),
            findings,
        }
    }

    /// Advises about a log whose `submission_org` is not the submitter of the system's description.
    pub fn hold_against(&mut self, submitter: &str) {
        let Some(org) = self.org.as_deref().filter(|org| *org != submitter) else { return };
        let message = format!("submission_org is {org:?}, the system's submitter {submitter:?}");
        self.findings.push(Finding::of(Code::OrgDiffers, Key::SubmissionOrg, None, message));
    }

    /// Whether the reference checker accepts the log, without `--werror`.
    pub fn reference_accepts(&self) -> bool {
        self.accepted(Strictness::default())
    }

    /// Whether the log passes.
    pub fn accepted(&self, strictness: Strictness) -> bool {
        !self.findings.iter().any(|finding| match finding.severity() {
            Severity::Error => true,
            Severity::Warning => strictness.warnings_reject,
            Severity::Fault => strictness.faults_reject,
            Severity::Advice => false,
        })
    }
}
