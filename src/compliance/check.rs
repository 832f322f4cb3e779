//! The engine: checks a log against the rules, as the reference checker does.
//!
//! Which rule files apply becomes known only while the log is read, and each of them applies to the
//! whole log. The log is read once and never held in memory. Therefore every rule file of the ruleset
//! is applied from the start, until the log names its division and its benchmark. Only what a message
//! may need is stored of a record, so memory does not grow with the log.

mod join;
mod reading;
mod state;
mod tally;
mod tensors;
#[cfg(test)]
mod tests;

use super::code::Code;
use super::finding::Finding;
use super::parse::{Flaw, FlawKind, Record};
use super::rules::{Catalogue, Selects};
use super::ruleset::Ruleset;
use crate::mlperf::Division;
pub(super) use join::Joined;
use reading::Reading;

/// Findings of one kind that are listed one by one.
const MAX_ALIKE: usize = 1000;

/// Collects what the reference checker would report: errors and warnings.
pub(super) struct ReferenceChecks {
    catalogue: &'static Catalogue,
    /// One for each file of the catalogue that the log may still select.
    readings: Vec<Option<Reading>>,
    division: LoggedDivision,
    /// What the first `submission_benchmark` names.
    benchmark: Option<String>,
    flaws: Vec<Finding>,
    num_flaws: usize,
    num_records: usize,
    is_utf16: bool,
    crashes: bool,
}

/// What the first `submission_division` names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoggedDivision {
    /// There is none so far.
    Missing,
    /// It is no division.
    Unknown,
    Known(Division),
}

impl LoggedDivision {
    fn known(self) -> Option<Division> {
        match self {
            Self::Known(division) => Some(division),
            _ => None,
        }
    }
}

/// What the reference checker would report.
pub(super) struct ReferenceVerdict {
    /// Its errors and warnings.
    pub(super) findings: Vec<Finding>,
    /// Whether it ends in a traceback.
    pub(super) crashes: bool,
    /// What the first `submission_benchmark` names.
    pub(super) benchmark: Option<String>,
}

impl ReferenceChecks {
    pub(super) fn new(ruleset: Ruleset) -> Self {
        let catalogue = Catalogue::of(ruleset);
        Self {
            catalogue,
            readings: catalogue.files.iter().map(|file| Some(Reading::new(file))).collect(),
            division: LoggedDivision::Missing,
            benchmark: None,
            flaws: Vec::new(),
            num_flaws: 0,
            num_records: 0,
            is_utf16: false,
            crashes: false,
        }
    }

    /// Processes the next record.
    pub(super) fn read(&mut self, record: &Record) {
        self.num_records += 1;
        for &(file, rule) in self.catalogue.places(&record.key) {
            if let Some(reading) = &mut self.readings[file] {
                reading.read(rule, record);
            }
        }
        match record.key.as_str() {
            "submission_division" if self.division == LoggedDivision::Missing => {
                self.enter_division(record);
            }
            "submission_benchmark" if self.benchmark.is_none() => {
                let name = record.value.as_str().unwrap_or_default();
                self.benchmark = Some(name.into());
                self.drop_unfit(|reading| reading.fits_benchmark(name));
            }
            _ => {}
        }
    }

    fn enter_division(&mut self, record: &Record) {
        self.division = match record.value.as_str() {
            Some("open") => LoggedDivision::Known(Division::Open),
            Some("closed") => LoggedDivision::Known(Division::Closed),
            _ => LoggedDivision::Unknown,
        };
        for reading in self.readings.iter_mut().flatten() {
            reading.state.enter(self.division);
        }
        let known = self.division.known();
        self.drop_unfit(|reading| reading.fits_division(known));
    }

    /// Forgets the rule files that the log has not selected.
    fn drop_unfit(&mut self, fits: impl Fn(&Reading) -> bool) {
        for reading in &mut self.readings {
            reading.take_if(|reading| !fits(reading));
        }
    }

    /// Notes that the text is UTF-16, in which no token can be found.
    pub(super) fn utf16(&mut self) {
        self.is_utf16 = true;
    }

    /// Processes a line that is not a record.
    pub(super) fn flaw(&mut self, flaw: Flaw) {
        self.num_flaws += 1;
        self.crashes |= flaw.kind == FlawKind::Record;
        if self.num_flaws <= MAX_ALIKE {
            let code = match flaw.kind {
                FlawKind::Json => Code::BadJson,
                FlawKind::Record | FlawKind::Time => Code::BadRecord,
            };
            self.flaws.push(Finding {
                code,
                key: None,
                line: Some(flaw.line),
                message: flaw.reason,
            });
        }
    }

    /// All findings.
    pub(super) fn finish(mut self) -> ReferenceVerdict {
        let mut findings = std::mem::take(&mut self.flaws);
        let mut crashes = self.crashes;
        let (mut replaceable, mut lasting) = (Vec::new(), Vec::new());
        if self.num_records + self.num_flaws == 0 {
            let mut message =
                "no line contains the token \":::MLLOG \" (with its space)".to_owned();
            if self.is_utf16 {
                message += ", because the file is UTF-16: iconv -f UTF-16 -t UTF-8 converts it";
            }
            findings.push(Finding { code: Code::NoRecords, key: None, line: None, message });
        }
        if self.num_flaws > MAX_ALIKE {
            let message = format!("{} more lines are not records", self.num_flaws - MAX_ALIKE);
            findings.push(Finding { code: Code::BadJson, key: None, line: None, message });
        }
        let find =
            |benchmark, division, optimizer| self.catalogue.find(benchmark, division, optimizer);
        let division = self.division.known();
        let mut selected = vec![find(None, None, None)];
        if self.division != LoggedDivision::Missing {
            selected.push(division.and_then(|_| find(None, division, None)));
        }
        if let (Some(_), Some(benchmark)) = (division, self.benchmark.as_deref()) {
            selected.push(find(Some(benchmark), division, None));
        }
        let mut at = 0;
        while let Some(&file) = selected.get(at) {
            at += 1;
            // The reference looks for a rule file that it does not have.
            let Some(file) = file else {
                crashes = true;
                continue;
            };
            let Some(mut reading) = self.readings[file].take() else { continue };
            reading.finish();
            crashes |= reading.crashes;
            // If a rule file covers a key again, its findings replace the earlier ones.
            replaceable.retain(|old: &Finding| !reading.covers(old.key));
            replaceable.append(&mut reading.findings);
            lasting.append(&mut reading.lasting);
            for optimizer in &reading.optimizers {
                let benchmark = self.benchmark.as_deref();
                selected.push(self.catalogue.find(benchmark, division, Some(optimizer)));
            }
        }
        findings.append(&mut replaceable);
        findings.append(&mut lasting);
        ReferenceVerdict { findings, crashes, benchmark: self.benchmark }
    }
}
