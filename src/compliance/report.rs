//! The checker's report on one log.

use std::path::{Path, PathBuf};

use super::check::{ReferenceChecks, ReferenceVerdict};
use super::code::{Code, Severity};
use super::convergence::{Convergence, Positions};
use super::faults::OwnChecks;
use super::finding::Finding;
use super::parse::{Entry, Record};
use super::rules::Catalogue;
use super::ruleset::Ruleset;
use super::settings::{Seed, Settings};
use super::timing::{Course, Curve, EpochSpan, RunTiming, Stopwatch};
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
    /// The benchmark that it names, even if no such benchmark exists.
    pub benchmark: Option<String>,
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
    /// How long it took to its target.
    pub convergence: Convergence,
    /// The reference checker ends in a traceback, and so does every tool that calls it.
    pub reference_crashes: bool,
    /// Its timed part, if it has a start and an end.
    pub timing: Option<RunTiming>,
    /// The start of the timed part, ms since the Unix epoch, even if it has no end.
    pub start_ms: Option<f64>,
    /// Epochs with a start and an end.
    pub epochs: Vec<EpochSpan>,
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
    positions: Positions,
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
            positions: Positions::new(ruleset),
        }
    }

    pub(super) fn read(&mut self, entry: Entry) {
        let record = match entry {
            Entry::Record(record) => record,
            Entry::Flaw(flaw) => return self.reference.flaw(flaw),
        };
        let key = Key::named(&record.key);
        self.reference.read(&record);
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
        self.positions.read(key, record);
        match key {
            Key::SubmissionOrg => self.org.see(Some(&record.value)),
            Key::SubmissionDivision => self.division.see(Some(&record.value)),
            Key::SubmissionStatus => self.availability.see(Some(&record.value)),
            // The last record counts, as in the reference's convergence test.
            Key::GlobalBatchSize => self.batch_size = record.value.as_f64(),
            Key::Seed if self.seeds.len() < MAX_SEEDS => self.seeds.push(Seed::of(record)),
            Key::RunStop => self.status.see(record.metadata.get("status")),
            _ => {}
        }
    }

    pub(super) fn finish(self, path: &Path) -> Report {
        let ReferenceVerdict { mut findings, crashes, benchmark } = self.reference.finish();
        let name = benchmark.as_deref().unwrap_or("resnet");
        findings.extend(self.own.finish(name, Catalogue::of(self.ruleset).target(name)));
        findings.sort_by_key(|finding| (finding.severity(), finding.line.unwrap_or(usize::MAX)));
        let Course { timing, start_ms, epochs, curve } = self.stopwatch.finish();
        let status = self.status.text();
        let convergence = self.positions.finish(name, self.ruleset, status.as_deref());
        Report {
            path: path.into(),
            ruleset: self.ruleset,
            benchmark,
            division: self.division.text(),
            status,
            org: self.org.text(),
            availability: self.availability.text(),
            batch_size: self.batch_size,
            settings: self.settings,
            seeds: self.seeds,
            convergence,
            reference_crashes: crashes,
            timing,
            start_ms,
            epochs,
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
