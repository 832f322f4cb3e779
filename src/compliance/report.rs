//! The checker's report on one log.

use std::path::{Path, PathBuf};

use super::check::{ReferenceChecks, ReferenceVerdict};
use super::code::{Code, Severity};
use super::faults::OwnChecks;
use super::finding::Finding;
use super::parse::{Entry, Record};
use super::ruleset::Ruleset;
use super::settings::{Seed, Settings};
use super::timing::{Curve, RunTiming, Stopwatch};
use super::value::Value;
use crate::mllog::Key;

/// The most seeds that a report holds, because a log may have more than fit in memory.
const MAX_SEEDS: usize = 10_000;

/// What rejects a log in addition to errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strictness {
    /// Warnings reject, as with the reference's `--werror`.
    pub warnings_reject: bool,
    /// Faults reject.
    pub faults_reject: bool,
}

/// The checker's report on one log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file's path as given; empty for a log in memory.
    pub path: PathBuf,
    /// The ruleset it was checked against.
    pub ruleset: Ruleset,
    /// The division that it names, even if no such division exists.
    pub division: Option<String>,
    /// The status of `run_stop`.
    pub status: Option<String>,
    /// `submission_org`.
    pub org: Option<String>,
    /// `submission_status`: how the system is available.
    pub availability: Option<String>,
    /// `global_batch_size`.
    pub batch_size: Option<f64>,
    /// The hyperparameters of the run.
    pub settings: Settings,
    /// Every `seed`.
    pub seeds: Vec<Seed>,
    /// Line of an `eval_accuracy` whose epoch is not a number, or of a `run_stop` without a status.
    /// The reference's convergence test ends in a traceback there.
    pub stops_convergence: Option<usize>,
    /// The reference checker ends in a traceback, and so does every tool that calls it.
    pub reference_crashes: bool,
    /// Its timed part, if it has a start and an end.
    pub timing: Option<RunTiming>,
    /// Accuracy by epoch.
    pub curve: Curve,
    /// All problems, the most serious first, then by line.
    pub findings: Vec<Finding>,
}

/// Checks a log record by record.
pub(super) struct LogChecker {
    ruleset: Ruleset,
    reference: ReferenceChecks,
    own: OwnChecks,
    stopwatch: Stopwatch,
    org: First,
    division: First,
    availability: First,
    status: First,
    batch_size: Option<f64>,
    settings: Settings,
    seeds: Vec<Seed>,
    stops_convergence: Option<usize>,
}

/// The first value of a key, if it is a string.
#[derive(Default)]
enum First {
    #[default]
    Unseen,
    Seen(Option<String>),
}

impl First {
    fn see(&mut self, value: Option<&Value>) {
        if matches!(self, Self::Unseen) {
            *self = Self::Seen(value.and_then(Value::as_str).map(str::to_owned));
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Unseen => None,
            Self::Seen(text) => text,
        }
    }
}

impl LogChecker {
    pub(super) fn new(ruleset: Ruleset) -> Self {
        Self {
            ruleset,
            reference: ReferenceChecks::new(ruleset),
            own: OwnChecks::default(),
            stopwatch: Stopwatch::default(),
            org: First::default(),
            division: First::default(),
            availability: First::default(),
            status: First::default(),
            batch_size: None,
            settings: Settings::default(),
            seeds: Vec::new(),
            stops_convergence: None,
        }
    }

    pub(super) fn read(&mut self, entry: Entry) {
        let record = match entry {
            Entry::Record(record) => record,
            Entry::Flaw(flaw) => return self.reference.flaw(flaw),
        };
        let key = Key::named(&record.key);
        self.reference.read(key, &record);
        self.own.read(key, &record);
        self.stopwatch.read(key, &record);
        if let Some(key) = key {
            self.note(key, &record);
        }
    }

    /// Notes that the text is UTF-16.
    pub(super) fn utf16(&mut self) {
        self.reference.utf16();
    }

    fn note(&mut self, key: Key, record: &Record) {
        self.settings.see(key, record);
        let needed = match key {
            Key::SubmissionOrg => return self.org.see(Some(&record.value)),
            Key::SubmissionDivision => return self.division.see(Some(&record.value)),
            Key::SubmissionStatus => return self.availability.see(Some(&record.value)),
            // The last record counts, as in the reference's convergence test.
            Key::GlobalBatchSize => return self.batch_size = record.value.as_f64(),
            Key::Seed if self.seeds.len() < MAX_SEEDS => return self.seeds.push(Seed::of(record)),
            Key::RunStop => {
                self.status.see(record.metadata.get("status"));
                record.metadata.get("status").map(drop)
            }
            Key::EvalAccuracy => record.metadata.get("epoch_num").and_then(Value::as_f64).map(drop),
            _ => return,
        };
        if needed.is_none() {
            self.stops_convergence.get_or_insert(record.line);
        }
    }

    pub(super) fn finish(self, path: &Path) -> Report {
        let ReferenceVerdict { mut findings, crashes } = self.reference.finish();
        findings.extend(self.own.finish());
        findings.sort_by_key(|finding| (finding.severity(), finding.line.unwrap_or(usize::MAX)));
        let (timing, curve) = self.stopwatch.finish();
        Report {
            path: path.into(),
            ruleset: self.ruleset,
            division: self.division.text(),
            status: self.status.text(),
            org: self.org.text(),
            availability: self.availability.text(),
            batch_size: self.batch_size,
            settings: self.settings,
            seeds: self.seeds,
            stops_convergence: self.stops_convergence,
            reference_crashes: crashes,
            timing,
            curve,
            findings,
        }
    }
}

impl Report {
    /// Adds advice if `submission_org` is not the submitter in the system's description.
    pub fn advise_submitter(&mut self, submitter: &str) {
        let Some(org) = self.org.as_deref().filter(|org| *org != submitter) else { return };
        let message =
            format!("submission_org is {org:?}, but the system's submitter is {submitter:?}");
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
