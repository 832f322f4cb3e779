//! The engine: takes a log through the books of rules as the reference does.

use std::collections::VecDeque;

use super::code::Code;
use super::parse::{FlawKind, Log, Record};
use super::report::Finding;
use super::rules::{Accuracy, Book, Effect, Family, Need, Rule};
use super::ruleset::{Division, Ruleset};
use super::state::{State, meets, target_missed};
use super::value::Value;
use crate::mllog::Key;

/// What the reference checker would hold against the log: errors and warnings.
pub(super) fn reference_findings(log: &Log, ruleset: Ruleset) -> Vec<Finding> {
    let mut findings = flaws(log);
    let mut queue = VecDeque::from([Book::Common]);
    let mut opened = Vec::new();
    while let Some(book) = queue.pop_front() {
        if opened.contains(&book) {
            continue;
        }
        opened.push(book);
        let rules = book.rules(ruleset);
        // A book that speaks of a key again replaces what an earlier one found about it.
        findings.retain(|old| !rules.iter().any(|rule| Some(rule.key.as_str()) == old.key));
        let mut reading = Reading::new(&rules);
        for record in &log.records {
            reading.read(record);
        }
        reading.finish();
        findings.extend(reading.findings);
        queue.extend(reading.next);
    }
    findings
}

fn flaws(log: &Log) -> Vec<Finding> {
    if log.records.is_empty() && log.flaws.is_empty() {
        let message = "no line holds the token \":::MLLOG \" with its blank".into();
        return vec![Finding { code: Code::NoRecords, key: None, line: None, message }];
    }
    log.flaws
        .iter()
        .map(|flaw| Finding {
            code: match flaw.kind {
                FlawKind::Json => Code::BadJson,
                FlawKind::Record => Code::BadRecord,
            },
            key: None,
            line: Some(flaw.line),
            message: flaw.reason.clone(),
        })
        .collect()
}

/// One book on its way through a log.
struct Reading<'a> {
    rules: &'a [Rule],
    tallies: Vec<Tally<'a>>,
    state: State<'a>,
    findings: Vec<Finding>,
    next: Vec<Book>,
}

/// What has been seen of one key.
#[derive(Default)]
struct Tally<'a> {
    records: Vec<&'a Record>,
    /// A record had what one of them must have.
    any_met: bool,
}

impl<'a> Reading<'a> {
    fn new(rules: &'a [Rule]) -> Self {
        Self {
            rules,
            tallies: rules.iter().map(|_| Tally::default()).collect(),
            state: State::new(),
            findings: Vec::new(),
            next: Vec::new(),
        }
    }

    fn read(&mut self, record: &'a Record) {
        let Some(index) = self.rules.iter().position(|rule| rule.key.as_str() == record.key) else {
            return;
        };
        let rule = &self.rules[index];
        let repeated = !self.tallies[index].records.is_empty();
        self.tallies[index].records.push(record);
        // Of the submission_* keys only the first record is judged and has an effect.
        if !(repeated && record.key.contains("submission_")) {
            for check in &rule.checks {
                if let Some((code, complaint)) = self.state.complaint(*check, record) {
                    let message = format!("{} {complaint}", record.key);
                    self.report(code, rule, Some(record.line), message);
                }
            }
            if let Some(effect) = rule.effect {
                self.apply(effect, record);
            }
        }
        if let Some(accuracy) = rule.any {
            self.weigh(accuracy, index, record);
        }
    }

    fn report(&mut self, code: Code, rule: &Rule, line: Option<usize>, message: String) {
        self.findings.push(Finding { code, key: Some(rule.key.as_str()), line, message });
    }

    fn weigh(&mut self, wanted: Accuracy, index: usize, record: &Record) {
        match record.value.as_f64() {
            Some(accuracy) => self.tallies[index].any_met |= meets(wanted, accuracy),
            None => {
                let message = format!("{} is {}; it must be a number", record.key, record.value);
                let rule = &self.rules[index];
                self.report(Code::AccuracyNotANumber, rule, Some(record.line), message);
            }
        }
    }

    fn apply(&mut self, effect: Effect, record: &'a Record) {
        match effect {
            Effect::EnterDivision => {
                let division = division_named(&record.value);
                self.next.extend(division.map(Book::Division));
                let open = division == Some(Division::Open);
                self.state.limit_init(if open { 240.0 } else { 30.0 });
            }
            Effect::EnterBenchmark(division) => {
                let known = record.value.as_str() == Some("resnet");
                self.next.extend(known.then_some(Book::Resnet(division)));
            }
            Effect::EnterOptimizer => self.next.extend(match record.value.as_str() {
                Some("sgd") => Some(Book::Optimizer(Family::Sgd)),
                Some("lars") => Some(Book::Optimizer(Family::Lars)),
                _ => None,
            }),
            Effect::Reach(mark) => self.state.reach(mark, record),
            Effect::CollectTensor => self.state.collect_tensor(record),
        }
    }

    fn finish(&mut self) {
        for index in 0..self.rules.len() {
            self.count(index);
            let rule = &self.rules[index];
            let tally = &self.tallies[index];
            if let (Some(wanted), Some(last), false) =
                (rule.any, tally.records.last(), tally.any_met)
            {
                let line = last.line;
                let message = target_missed(wanted, &tally.records);
                self.report(Code::TargetNotReached, rule, Some(line), message);
            }
            if rule.effect == Some(Effect::CollectTensor) {
                if let Some(message) = self.state.tensors_differ() {
                    self.report(Code::TensorsDiffer, rule, None, message);
                }
            }
        }
    }

    /// Judges how often the rule's key occurred.
    fn count(&mut self, index: usize) {
        let rule = &self.rules[index];
        let key = rule.key.as_str();
        let records = &self.tallies[index].records;
        match (rule.need, records.as_slice()) {
            (Need::ExactlyOne, []) => {
                self.report(Code::MissingKey, rule, None, format!("{key} is missing"));
            }
            (Need::ExactlyOne, [first, rest @ ..]) if !rest.is_empty() => {
                let differing = rest.iter().find(|other| !other.value.same(&first.value));
                let times = records.len();
                let (code, line, message) = match differing {
                    Some(other) => (
                        Code::RepeatedKey,
                        other.line,
                        format!(
                            "{key} occurs {times} times and is {} in line {} but {} here",
                            first.value, first.line, other.value
                        ),
                    ),
                    None => (
                        Code::RepeatedEqualKey,
                        rest[0].line,
                        format!(
                            "{key} occurs {times} times, first in line {}, with the same value",
                            first.line
                        ),
                    ),
                };
                self.report(code, rule, Some(line), message);
            }
            (Need::AtLeastOne, []) => {
                let message = format!("{key} is missing");
                self.report(Code::MissingKey, rule, None, message);
            }
            (Need::AtLeastOneOr(other), []) if self.either_missing(index, other) => {
                let other = other.as_str();
                let message = format!("{key} is missing, and so is {other}, which may replace it");
                self.report(Code::MissingKey, rule, None, message);
            }
            _ => {}
        }
    }

    /// Whether `other` is missing as well and has not said so for both.
    fn either_missing(&self, index: usize, other: Key) -> bool {
        let Some(place) = self.rules.iter().position(|rule| rule.key == other) else { return true };
        let said =
            place < index && self.rules[place].need == Need::AtLeastOneOr(self.rules[index].key);
        self.tallies[place].records.is_empty() && !said
    }
}

fn division_named(value: &Value) -> Option<Division> {
    match value.as_str() {
        Some("open") => Some(Division::Open),
        Some("closed") => Some(Division::Closed),
        _ => None,
    }
}
