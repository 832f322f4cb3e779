//! One rule file and what it has seen of the log.

use std::collections::BTreeSet;

use super::super::code::Code;
use super::super::finding::Finding;
use super::super::parse::Record;
use super::super::rules::{Need, Rule, RuleFile, TargetPart};
use super::join::Joined;
use super::state::{Complaint, State};
use super::tally::Tally;
use super::tensors::Tensors;
use super::{Division, MAX_ALIKE};

/// One rule file and what it has seen of the log.
pub(super) struct Reading {
    file: &'static RuleFile,
    tallies: Vec<Tally>,
    pub(super) state: State,
    tensors: Option<Tensors>,
    joined: Joined,
    /// Values of `opt_name`, each of which selects further rules.
    pub(super) optimizers: BTreeSet<String>,
    /// Findings that a later rule file replaces if it covers the key again.
    pub(super) findings: Vec<Finding>,
    /// Findings that stay.
    pub(super) lasting: Vec<Finding>,
    /// The reference looks for a rule file that it does not have, or compares values that cannot be
    /// compared.
    pub(super) crashes: bool,
}

impl Reading {
    pub(super) fn new(file: &'static RuleFile) -> Self {
        Self {
            file,
            tallies: file.rules.iter().map(|_| Tally::default()).collect(),
            state: State::new(),
            tensors: file.rules.iter().find_map(Tensors::of),
            joined: Joined::default(),
            optimizers: BTreeSet::new(),
            findings: Vec::new(),
            lasting: Vec::new(),
            crashes: false,
        }
    }

    /// Whether a log of this division can select it.
    pub(super) fn fits_division(&self, division: Option<Division>) -> bool {
        self.file.division.is_none() || self.file.division == division
    }

    /// Whether a log of this benchmark can select it.
    pub(super) fn fits_benchmark(&self, benchmark: &str) -> bool {
        self.file.benchmark.is_none_or(|own| own == benchmark)
    }

    /// Applies the rule at `index` to a record.
    pub(super) fn read(&mut self, index: usize, record: &Record) {
        let rule = &self.file.rules[index];
        if let Some(join) = rule.join.as_ref().filter(|join| join.key == record.key) {
            if let Err(complaint) = self.joined.add(join, record) {
                self.crashes = true;
                let (code, line) = (Code::BadMetadata, Some(record.line));
                let message = format!("{} {complaint}", record.key);
                self.lasting.push(Finding { code, key: Some(&rule.key), line, message });
            }
            return;
        }
        let is_repeated = self.tallies[index].num > 0;
        self.tallies[index].count(record);
        // For submission_* keys, only the first record is checked and has an effect.
        if !(is_repeated && record.key.contains("submission_")) {
            for check in &rule.checks {
                if let Some(complaint) = self.state.complaint(check, record) {
                    self.complain(index, record, complaint);
                }
            }
            if let Some(complaint) = self.state.remember(rule, record) {
                self.complain(index, record, complaint);
            }
            if rule.selects == Some(super::Selects::Optimizer) {
                self.optimizers.insert(record.value.as_str().unwrap_or_default().into());
            }
            if !rule.tensors.is_empty()
                && let Some(tensors) = &mut self.tensors
            {
                tensors.collect(record);
            }
        }
        if let Some(first) = rule.first.as_ref().filter(|_| !is_repeated)
            && let Some(complaint) = self.state.first_complaint(first, record)
        {
            self.complain(index, record, complaint);
        }
        if !rule.target.is_empty() {
            self.weigh(&rule.target, index, record);
        }
    }

    /// Adds a finding, unless the key has very many already.
    fn complain(&mut self, index: usize, record: &Record, (code, complaint): Complaint) {
        self.tallies[index].num_findings += 1;
        if self.tallies[index].num_findings <= MAX_ALIKE {
            let message = format!("{} {complaint}", record.key);
            let key = Some(self.file.rules[index].key.as_str());
            self.findings.push(Finding { code, key, line: Some(record.line), message });
        }
    }

    fn weigh(&mut self, target: &[TargetPart], index: usize, record: &Record) {
        let Some(is_met) = self.state.meets(target, &record.value) else {
            self.crashes = true;
            let members: Vec<_> = target.iter().filter_map(|it| it.member.as_deref()).collect();
            let wanted = if members.is_empty() {
                "a number".into()
            } else {
                format!("an object with the numbers {}", members.join(" and "))
            };
            let complaint = format!("is {}; it must be {wanted}", record.value);
            return self.complain(index, record, (Code::AccuracyNotANumber, complaint));
        };
        let tally = &mut self.tallies[index];
        tally.is_target_met |= is_met;
        if let Some(accuracy) = record.value.as_f64() {
            let better = if target[0].falls { f64::min } else { f64::max };
            tally.best = Some(tally.best.map_or(accuracy, |best| better(best, accuracy)));
        }
    }

    /// Applies the rules that concern the whole log.
    pub(super) fn finish(&mut self) {
        self.read_joined();
        for (index, rule) in self.file.rules.iter().enumerate() {
            let key = Some(rule.key.as_str());
            let tally = &self.tallies[index];
            if let Some((code, line, message)) = tally.complaint(&rule.key, &rule.need) {
                self.findings.push(Finding { code, key, line, message });
            }
            if let Need::Or(other) = &rule.need
                && tally.num == 0
                && self.is_either_missing(index, other)
            {
                let code = Code::MissingKey;
                let message =
                    format!("{} is missing, and so is {other}, which may replace it", rule.key);
                self.lasting.push(Finding { code, key, line: None, message });
            }
            if let (false, Some(line), false) =
                (rule.target.is_empty(), tally.last_line, tally.is_target_met)
            {
                let code = Code::TargetNotReached;
                let message = target_missed(rule, tally);
                self.lasting.push(Finding { code, key, line: Some(line), message });
            }
            if !rule.tensors.is_empty()
                && let Some(message) = self.tensors.as_ref().and_then(Tensors::difference)
            {
                let code = Code::TensorsDiffer;
                self.lasting.push(Finding { code, key, line: None, message });
            }
            if let Some(num) = tally.num_findings.checked_sub(MAX_ALIKE + 1) {
                let code = Code::BadValue;
                let message = format!("{} has {} more findings", rule.key, num + 1);
                self.findings.push(Finding { code, key, line: None, message });
            }
        }
    }

    fn read_joined(&mut self) {
        if let Some(index) = self.file.rules.iter().position(|rule| rule.join.is_some()) {
            let joined = std::mem::take(&mut self.joined);
            for record in joined.records(&self.file.rules[index].key) {
                self.read(index, &record);
            }
        }
    }

    /// Whether `other` is missing too and has not been reported for both.
    fn is_either_missing(&self, index: usize, other: &str) -> bool {
        let rules = &self.file.rules;
        let Some(place) = rules.iter().position(|rule| rule.key == other) else { return true };
        let is_said = place < index
            && matches!(&rules[place].need, Need::Or(first) if *first == rules[index].key);
        self.tallies[place].num == 0 && !is_said
    }

    /// Whether it has a rule for `key`.
    pub(super) fn covers(&self, key: Option<&str>) -> bool {
        self.file.rules.iter().any(|rule| Some(rule.key.as_str()) == key)
    }
}

fn target_missed(rule: &Rule, tally: &Tally) -> String {
    let parts: Vec<_> = rule.target.iter().map(TargetPart::describe).collect();
    let wanted = parts.join(" with ");
    let message = format!("no {} is {wanted}", rule.key);
    match tally.best {
        _ if rule.target[0].member.is_some() => message,
        Some(best) => format!("{message}; the best of {} is {best}", tally.num),
        None => format!("{message}; the best of {} is no number", tally.num),
    }
}
