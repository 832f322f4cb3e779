//! The state that earlier records have left, and the checks of a record against it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::code::Code;
use super::super::parse::Record;
use super::super::rules::{
    Check, Equation, Formula, InitLimit, MemberMust, Rule, Step, TargetPart,
};
use super::super::settings::python_int;
use super::super::value::Value;
use super::LoggedDivision;
use crate::mlperf::Division;

/// A code, and the rest of a sentence that begins with the key.
pub(super) type Complaint = (Code, String);

/// The effects of the records so far on one rule file.
pub(super) struct State {
    /// The keys that have occurred.
    seen: BTreeSet<&'static str>,
    /// In ms since the Unix epoch; a huge number until there is one.
    first_init_ms: f64,
    division: LoggedDivision,
    /// Numbers for formulas, by name.
    remembered: BTreeMap<&'static str, f64>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            seen: BTreeSet::new(),
            first_init_ms: 9e99,
            division: LoggedDivision::Missing,
            remembered: BTreeMap::new(),
        }
    }

    pub(super) fn enter(&mut self, division: LoggedDivision) {
        self.division = division;
    }

    /// Takes note of a record. Returns what the reference cannot compute of it.
    pub(super) fn remember(&mut self, rule: &'static Rule, record: &Record) -> Option<Complaint> {
        self.seen.insert(&rule.key);
        if rule.key == "init_start" {
            // Like the reference, `f64::min` ignores a NaN.
            self.first_init_ms = self.first_init_ms.min(record.time_ms);
        }
        let own = record.value.as_f64();
        if rule.is_remembered {
            match own {
                Some(value) => self.remembered.insert(&rule.key, value),
                None => self.remembered.remove(rule.key.as_str()),
            };
        }
        for (name, formula) in &rule.remember {
            let Some(value) = self.value(formula, own) else {
                let complaint = format!("is {}; {name} cannot be computed", record.value);
                return Some((Code::BadValue, complaint));
            };
            self.remembered.insert(name, value);
        }
        let steps = rule.checks.iter().filter_map(|check| match check {
            Check::Step(step) => Some(step),
            _ => None,
        });
        for step in steps {
            if let (true, Some(by)) = (self.is_next(step, record), self.known(&step.by))
                && let Some(next) = self.remembered.get_mut(step.name.as_str())
            {
                *next += by;
            }
        }
        None
    }

    fn known(&self, name: &str) -> Option<f64> {
        self.remembered.get(name).copied()
    }

    fn value(&self, formula: &Formula, own: Option<f64>) -> Option<f64> {
        formula.value(&|name| if name == "value" { own } else { self.known(name) })
    }

    fn is_next(&self, Step { member, name, .. }: &Step, record: &Record) -> bool {
        let at = record.metadata.get(member).and_then(Value::as_f64);
        at.is_some() && at == self.known(name)
    }

    fn are_equal(&self, Equation { left, right }: &Equation, own: Option<f64>) -> bool {
        let left = self.value(left, own);
        left.is_some() && left == self.value(right, own)
    }

    /// What is wrong with `record`.
    pub(super) fn complaint(&self, check: &Check, record: &Record) -> Option<Complaint> {
        let Record { value, metadata, .. } = record;
        let own = value.as_f64();
        let has = |name: &str| metadata.contains(name) == Some(true);
        let holds = match check {
            Check::NotEmpty => value.as_str() != Some(""),
            Check::OneOf(values) => values.iter().any(|wanted| value.same(wanted)),
            Check::Whole => own.is_some_and(is_whole),
            Check::Integer => matches!(value, Value::Bool(_) | Value::Int(_) | Value::Huge(_)),
            Check::Compare(relation, bound) => {
                let bound = self.value(bound, own);
                own.zip(bound).is_some_and(|(own, bound)| relation.holds(own, bound))
            }
            Check::MultipleOf(unit, None) => own.is_some_and(|x| is_whole(x / unit)),
            Check::MultipleOf(unit, Some(small)) => own.is_some_and(|x| {
                let batch_is_small = self.known("global_batch_size").is_some_and(|it| it < *small);
                is_whole(x / unit) || x.is_finite() && batch_is_small && is_whole(unit / x)
            }),
            Check::SecondMultipleOf(unit) => match value {
                Value::List(items) => {
                    let second = items.get(1).and_then(Value::as_f64);
                    second.is_some_and(|x| is_whole(x / unit))
                }
                _ => false,
            },
            Check::PowerOfTwoTimes(unit) => own.is_some_and(|x| is_whole((x / unit).log2())),
            Check::CloseTo(formula) => {
                let wanted = self.value(formula, own);
                own.zip(wanted).is_some_and(|(own, wanted)| (own - wanted).abs() < 1e-9)
            }
            Check::Equal(equation) => self.are_equal(equation, own),
            Check::Length(length) => value.length() == Some(*length),
            Check::ValueHas(name) => value.contains(name) == Some(true),
            Check::Has(names) => names.iter().any(|name| has(name)),
            Check::HasWith(name, other) => !has(name) || has(other),
            Check::Member(name, must) => {
                !has(name) || metadata.get(name).is_some_and(|member| self.member(must, member))
            }
            Check::Step(step) => self.is_next(step, record),
            Check::After(key) => self.seen.contains(key.as_str()),
            Check::Before(key) => !self.seen.contains(key.as_str()),
            Check::InitWithin(limit) => return self.init_complaint(*limit, record.time_ms),
        };
        (!holds).then(|| complaint(check, value))
    }

    fn member(&self, must: &MemberMust, member: &Value) -> bool {
        let number = member.as_f64();
        match must {
            MemberMust::OneOf(values) => values.iter().any(|wanted| member.same(wanted)),
            MemberMust::Compare(relation, bound) => {
                let bound = self.value(bound, None);
                number.zip(bound).is_some_and(|(number, bound)| relation.holds(number, bound))
            }
            MemberMust::DivisibleBy(formula) => {
                let unit = self.value(formula, None);
                number.zip(unit).is_some_and(|(number, unit)| number % unit == 0.0)
            }
        }
    }

    /// What is wrong with the metadata of the first record of a key.
    pub(super) fn first_complaint(
        &self,
        (member, formula): &(String, Formula),
        record: &Record,
    ) -> Option<Complaint> {
        let found = record.metadata.get(member).and_then(python_int);
        let found = found.and_then(|digits| digits.parse::<f64>().ok());
        let wanted = self.value(formula, record.value.as_f64());
        if found.is_some() && found == wanted {
            return None;
        }
        let wanted = wanted.map_or(formula.to_string(), |wanted| format!("{wanted}, {formula}"));
        Some((Code::BadMetadata, format!("must first have {member} = {wanted} in its metadata")))
    }

    fn init_complaint(&self, limit: InitLimit, time_ms: f64) -> Option<Complaint> {
        let minutes = match (limit, self.division) {
            (InitLimit::Always(minutes), _) => minutes,
            (InitLimit::ByDivision { .. }, LoggedDivision::Missing) => 0.0,
            (InitLimit::ByDivision { open, .. }, LoggedDivision::Known(Division::Open)) => open,
            (InitLimit::ByDivision { closed, .. }, _) => closed,
        };
        let taken_ms = time_ms - self.first_init_ms;
        if taken_ms < minutes * 60.0 * 1e3 {
            return None;
        }
        let complaint = if minutes > 0.0 {
            format!("comes {:.1} min after init_start; {minutes} min are allowed", taken_ms / 60e3)
        } else {
            "comes before submission_division, which sets the time limit".into()
        };
        Some((Code::InitTooLong, complaint))
    }

    /// Whether a value meets all parts of a target; `None` where Python raises an error.
    pub(super) fn meets(&self, parts: &[TargetPart], value: &Value) -> Option<bool> {
        TargetPart::all_met(parts, value, &|name| self.known(name))
    }
}

/// The finding for a record that `check` rejects.
fn complaint(check: &Check, value: &Value) -> Complaint {
    let what = check.describe();
    match check {
        Check::Has(_) | Check::HasWith(..) | Check::Member(..) | Check::Step(_) => {
            (Code::BadMetadata, format!("must have {what} in its metadata"))
        }
        Check::After(key) => (Code::WrongOrder, format!("has no {key} before it")),
        Check::Before(key) => (Code::WrongOrder, format!("comes after {key}")),
        _ => (Code::BadValue, format!("is {value}; it must be {what}")),
    }
}

/// Whether `x` is whole within the reference's tolerance; false for a non-finite value, for which
/// the reference raises an error.
fn is_whole(x: f64) -> bool {
    (x.round() - x).abs() < 1e-5
}
