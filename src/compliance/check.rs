//! The engine: checks a log against the rule files, as the reference checker does.
//!
//! Which rule files apply becomes known only while the log is read, and each of them applies to the
//! whole log. The log is read once and never held in memory. Therefore every rule file is applied
//! from the start, and at the end only the ones that the log selected count. Only what a message may
//! need is stored of a record, so memory does not grow with the log.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::code::Code;
use super::finding::Finding;
use super::parse::{Flaw, FlawKind, Record};
use super::rules::{Accuracy, Effect, Family, Need, Rule, RuleFile};
use super::ruleset::Ruleset;
use super::state::{State, meets, target_missed};
use super::value::Value;
use crate::{mllog::Key, mlperf::Division};

/// Findings of one kind that are listed one by one.
const MAX_ALIKE: usize = 1000;

/// All rule files.
const RULE_FILES: [RuleFile; 7] = [
    RuleFile::Common,
    RuleFile::Division(Division::Open),
    RuleFile::Division(Division::Closed),
    RuleFile::Resnet(Division::Open),
    RuleFile::Resnet(Division::Closed),
    RuleFile::Optimizer(Family::Sgd),
    RuleFile::Optimizer(Family::Lars),
];

/// Collects what the reference checker would report: errors and warnings.
pub(super) struct ReferenceChecks {
    readings: Vec<Reading>,
    flaws: Vec<Finding>,
    num_flaws: usize,
    num_records: usize,
    is_utf16: bool,
    crashes: bool,
}

/// What the reference checker would report.
pub(super) struct ReferenceVerdict {
    /// Its errors and warnings.
    pub(super) findings: Vec<Finding>,
    /// Whether it ends in a traceback.
    pub(super) crashes: bool,
}

impl ReferenceChecks {
    pub(super) fn new(ruleset: Ruleset) -> Self {
        Self {
            readings: RULE_FILES.map(|rule_file| Reading::new(rule_file, ruleset)).into(),
            flaws: Vec::new(),
            num_flaws: 0,
            num_records: 0,
            is_utf16: false,
            crashes: false,
        }
    }

    /// Processes the next record. `key` is the record's key if MLPerf defines it.
    pub(super) fn read(&mut self, key: Option<Key>, record: &Record) {
        self.num_records += 1;
        let Some(key) = key else { return };
        for reading in &mut self.readings {
            reading.read(key, record);
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
        let mut queue = VecDeque::from([RuleFile::Common]);
        while let Some(rule_file) = queue.pop_front() {
            // Each rule file applies once.
            let Some(place) = self.readings.iter().position(|it| it.rule_file == rule_file) else {
                continue;
            };
            let mut reading = self.readings.swap_remove(place);
            reading.finish();
            crashes |= reading.crashes;
            // If a rule file covers a key again, its findings replace the earlier ones.
            findings
                .retain(|old| !reading.rules.iter().any(|rule| Some(rule.key.as_str()) == old.key));
            findings.extend(reading.findings);
            queue.extend(reading.next);
        }
        ReferenceVerdict { findings, crashes }
    }
}

/// One rule file and what it has seen of the log.
struct Reading {
    rule_file: RuleFile,
    rules: Vec<Rule>,
    /// Index into `rules` and `tallies`, by key.
    places: Vec<Option<usize>>,
    tallies: Vec<Tally>,
    state: State,
    findings: Vec<Finding>,
    next: Vec<RuleFile>,
    /// The reference looks for a rule file that it does not have, or compares values that cannot be
    /// compared.
    crashes: bool,
}

/// What the log has shown of one key.
#[derive(Default)]
struct Tally {
    num: usize,
    first: Option<Seen>,
    second_line: Option<usize>,
    last_line: Option<usize>,
    /// The first record whose value differs from that of the first record.
    differing: Option<Seen>,
    /// Whether a record met the condition that one of them must meet.
    any_met: bool,
    best: Option<f64>,
    num_findings: usize,
}

struct Seen {
    line: usize,
    value: Value,
}

impl Seen {
    fn of(record: &Record) -> Self {
        Self { line: record.line, value: record.value.clone() }
    }
}

impl Tally {
    fn count(&mut self, record: &Record) {
        self.num += 1;
        self.last_line = Some(record.line);
        let Some(first) = &self.first else {
            self.first = Some(Seen::of(record));
            return;
        };
        self.second_line = self.second_line.or(Some(record.line));
        if self.differing.is_none() && !record.value.same(&first.value) {
            self.differing = Some(Seen::of(record));
        }
    }
}

impl Reading {
    fn new(rule_file: RuleFile, ruleset: Ruleset) -> Self {
        let rules = rule_file.rules(ruleset);
        let mut places = vec![None; Key::ALL.len()];
        for (place, rule) in rules.iter().enumerate() {
            places[rule.key as usize] = Some(place);
        }
        Self {
            rule_file,
            places,
            tallies: rules.iter().map(|_| Tally::default()).collect(),
            rules,
            state: State::new(),
            findings: Vec::new(),
            next: Vec::new(),
            crashes: false,
        }
    }

    fn read(&mut self, key: Key, record: &Record) {
        let Some(index) = self.places[key as usize] else { return };
        let repeated = self.tallies[index].num > 0;
        self.tallies[index].count(record);
        let Rule { any, effect, .. } = self.rules[index];
        // For submission_* keys, only the first record is checked and has an effect.
        if !(repeated && record.key.contains("submission_")) {
            for check in 0..self.rules[index].checks.len() {
                let check = self.rules[index].checks[check];
                if let Some(complaint) = self.state.complaint(check, record) {
                    self.complain(index, record, complaint);
                }
            }
            if let Some(effect) = effect {
                self.apply(effect, record);
            }
        }
        if let Some(accuracy) = any {
            self.weigh(accuracy, index, record);
        }
    }

    /// Adds a finding, unless the key has very many already.
    fn complain(&mut self, index: usize, record: &Record, (code, complaint): (Code, String)) {
        self.tallies[index].num_findings += 1;
        if self.tallies[index].num_findings <= MAX_ALIKE {
            let message = format!("{} {complaint}", record.key);
            let key = self.rules[index].key;
            self.findings.push(Finding::of(code, key, Some(record.line), message));
        }
    }

    fn weigh(&mut self, wanted: Accuracy, index: usize, record: &Record) {
        if let Some(accuracy) = record.value.as_f64() {
            let tally = &mut self.tallies[index];
            tally.any_met |= meets(wanted, accuracy);
            tally.best = Some(tally.best.map_or(accuracy, |best| best.max(accuracy)));
        } else {
            self.crashes = true;
            let complaint = format!("is {}; it must be a number", record.value);
            self.complain(index, record, (Code::AccuracyNotANumber, complaint));
        }
    }

    fn apply(&mut self, effect: Effect, record: &Record) {
        match effect {
            Effect::EnterDivision => {
                let division = division_named(&record.value);
                self.open(division.map(RuleFile::Division));
                let open = division == Some(Division::Open);
                self.state.limit_init(if open { 240.0 } else { 30.0 });
            }
            Effect::EnterBenchmark(division) => {
                let known = record.value.as_str() == Some("resnet");
                self.open(known.then_some(RuleFile::Resnet(division)));
            }
            Effect::EnterOptimizer => self.open(match record.value.as_str() {
                Some("sgd") => Some(RuleFile::Optimizer(Family::Sgd)),
                Some("lars") => Some(RuleFile::Optimizer(Family::Lars)),
                _ => None,
            }),
            Effect::Reach(mark) => self.state.reach(mark, record),
            Effect::CollectTensor => self.state.collect_tensor(record),
        }
    }

    fn open(&mut self, rule_file: Option<RuleFile>) {
        self.crashes |= rule_file.is_none();
        self.next.extend(rule_file.filter(|rule_file| !self.next.contains(rule_file)));
    }

    fn finish(&mut self) {
        for index in 0..self.rules.len() {
            self.count(index);
            let rule = &self.rules[index];
            let tally = &self.tallies[index];
            if let (Some(wanted), Some(last), false) = (rule.any, tally.last_line, tally.any_met) {
                let message = target_missed(wanted, tally.num, tally.best);
                let code = Code::TargetNotReached;
                self.findings.push(Finding::of(code, rule.key, Some(last), message));
            }
            if rule.effect == Some(Effect::CollectTensor)
                && let Some(message) = self.state.tensors_differ()
            {
                self.findings.push(Finding::of(Code::TensorsDiffer, rule.key, None, message));
            }
            if let Some(num) = tally.num_findings.checked_sub(MAX_ALIKE + 1) {
                let message = format!("{} has {} more findings", rule.key.as_str(), num + 1);
                self.findings.push(Finding::of(Code::BadValue, rule.key, None, message));
            }
        }
    }

    /// Checks how often the rule's key occurred.
    fn count(&mut self, index: usize) {
        let rule = &self.rules[index];
        let key = rule.key.as_str();
        let Tally { num, first, second_line, differing, .. } = &self.tallies[index];
        let (code, line, message) = match (rule.need, first, second_line) {
            (Need::ExactlyOne | Need::AtLeastOne, None, _) => {
                (Code::MissingKey, None, format!("{key} is missing"))
            }
            (Need::ExactlyOne, Some(first), Some(second)) => match differing {
                Some(other) => (
                    Code::RepeatedKey,
                    Some(other.line),
                    format!(
                        "{key} occurs {num} times and is {} in line {} but {} here",
                        first.value, first.line, other.value
                    ),
                ),
                None => (
                    Code::RepeatedEqualKey,
                    Some(*second),
                    format!(
                        "{key} occurs {num} times, first in line {}, with the same value",
                        first.line
                    ),
                ),
            },
            (Need::AtLeastOneOr(other), None, _) if self.either_missing(index, other) => {
                let other = other.as_str();
                let message = format!("{key} is missing, and so is {other}, which may replace it");
                (Code::MissingKey, None, message)
            }
            _ => return,
        };
        self.findings.push(Finding::of(code, rule.key, line, message));
    }

    /// Whether `other` is missing too and has not been reported for both.
    fn either_missing(&self, index: usize, other: Key) -> bool {
        let Some(place) = self.places[other as usize] else { return true };
        let said =
            place < index && self.rules[place].need == Need::AtLeastOneOr(self.rules[index].key);
        self.tallies[place].num == 0 && !said
    }
}

fn division_named(value: &Value) -> Option<Division> {
    match value.as_str() {
        Some("open") => Some(Division::Open),
        Some("closed") => Some(Division::Closed),
        _ => None,
    }
}
