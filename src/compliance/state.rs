//! What a record is held against: the state that the records before it have left, and the checks.

use super::code::Code;
use super::parse::Record;
use super::rules::{Accuracy, Check, InitLimit, Mark, TARGET, reference_tensors};
use super::value::Value;

/// What the records have done so far.
pub(super) struct State<'a> {
    reached: Vec<Mark>,
    /// ms since the Unix epoch; far in the future until there was one.
    first_init_ms: f64,
    init_limit_min: f64,
    tensors: Vec<&'a Record>,
}

impl<'a> State<'a> {
    pub(super) fn new() -> Self {
        Self { reached: Vec::new(), first_init_ms: 9e99, init_limit_min: 0.0, tensors: Vec::new() }
    }

    pub(super) fn reach(&mut self, mark: Mark, record: &Record) {
        self.reached.push(mark);
        // `f64::min` keeps the number when the other one is NaN, as the reference does.
        if mark == Mark::InitStarted {
            self.first_init_ms = self.first_init_ms.min(record.time_ms);
        }
    }

    pub(super) fn limit_init(&mut self, minutes: f64) {
        self.init_limit_min = minutes;
    }

    pub(super) fn collect_tensor(&mut self, record: &'a Record) {
        self.tensors.push(record);
    }

    /// What is wrong with `record`, as the rest of a sentence that begins with its key.
    pub(super) fn complaint(&self, check: Check, record: &Record) -> Option<(Code, String)> {
        let Record { value, metadata, .. } = record;
        let value_must = |holds: bool, what: String| {
            (!holds).then(|| (Code::BadValue, format!("is {value}; it must be {what}")))
        };
        let metadata_must = |holds: bool, what: String| {
            (!holds).then(|| (Code::BadMetadata, format!("must have {what} in its metadata")))
        };
        let member = |name: &str| metadata.get(name).and_then(Value::as_f64);
        let has = |name: &str| metadata.contains(name) == Some(true);
        match check {
            Check::NotEmpty => value_must(value.as_str() != Some(""), "a text".into()),
            Check::OneOf(words) => {
                let known = value.as_str().is_some_and(|text| words.contains(&text));
                value_must(known, words.join(" or "))
            }
            Check::Positive => {
                value_must(value.as_f64().is_some_and(|x| x > 0.0), "a number above 0".into())
            }
            Check::Equals(wanted) => {
                value_must(value.same(&Value::Float(wanted)), wanted.to_string())
            }
            Check::MultipleOf(unit) => value_must(
                value.as_f64().is_some_and(|x| is_whole(x / unit)),
                format!("a whole multiple of {unit}"),
            ),
            Check::PowerOfTwoTimes(unit) => value_must(
                value.as_f64().is_some_and(|x| is_whole((x / unit).log2())),
                format!("{unit} times a power of two"),
            ),
            Check::Has(names) => metadata_must(names.iter().any(|n| has(n)), names.join(" or ")),
            Check::HasWith(name, other) => {
                metadata_must(!has(name) || has(other), format!("{other} beside {name}"))
            }
            Check::MemberPositive(name) => metadata_must(
                !has(name) || member(name).is_some_and(|x| x > 0.0),
                format!("a number above 0 as {name}"),
            ),
            Check::MemberNotNegative(name) => metadata_must(
                !has(name) || member(name).is_some_and(|x| x >= 0.0),
                format!("a number from 0 up as {name}"),
            ),
            Check::After(mark) => (!self.reached.contains(&mark)).then(|| {
                let first = mark.key().as_str();
                (Code::WrongOrder, format!("has no {first} before it"))
            }),
            Check::Before(mark) => self.reached.contains(&mark).then(|| {
                let before = mark.key().as_str();
                (Code::WrongOrder, format!("comes after {before}"))
            }),
            Check::InitWithin(limit) => self.init_complaint(limit, record.time_ms),
        }
    }

    fn init_complaint(&self, limit: InitLimit, time_ms: f64) -> Option<(Code, String)> {
        let minutes = match limit {
            InitLimit::Minutes(minutes) => minutes,
            InitLimit::ByDivision => self.init_limit_min,
        };
        let taken_ms = time_ms - self.first_init_ms;
        if taken_ms < minutes * 60.0 * 1e3 {
            return None;
        }
        let complaint = if minutes > 0.0 {
            format!("comes {:.1} min after init_start; {minutes} min are allowed", taken_ms / 60e3)
        } else {
            "comes before submission_division, which sets the limit on it".into()
        };
        Some((Code::InitTooLong, complaint))
    }

    /// How the tensors that were initialized differ from the reference's, if they do.
    pub(super) fn tensors_differ(&self) -> Option<String> {
        let names =
            self.tensors.iter().map(|record| record.metadata.get("tensor").and_then(Value::as_str));
        let mut logged: Vec<_> = names.map(|name| name.unwrap_or("?")).collect();
        logged.sort_unstable();
        let wanted = reference_tensors();
        if logged == wanted {
            return None;
        }
        let missing: Vec<_> =
            wanted.iter().map(String::as_str).filter(|w| !logged.contains(w)).collect();
        let unknown: Vec<_> =
            logged.iter().copied().filter(|name| !wanted.iter().any(|w| w == name)).collect();
        let repeated = logged.len() + missing.len() - unknown.len() - wanted.len();
        let listed = |names: &[&str]| match names {
            [] => "0".into(),
            [first, ..] => format!("{} ({first} first)", names.len()),
        };
        Some(format!(
            "the tensors of weights_initialization are not the reference's {}: {} missing, {} \
             unknown, {repeated} repeated",
            wanted.len(),
            listed(&missing),
            listed(&unknown),
        ))
    }
}

/// The reference's tolerance; false for what is not finite, where it raises.
fn is_whole(x: f64) -> bool {
    (x.round() - x).abs() < 1e-5
}

pub(super) fn meets(wanted: Accuracy, accuracy: f64) -> bool {
    match wanted {
        Accuracy::Any => accuracy < 1.0,
        Accuracy::Target => (TARGET..1.0).contains(&accuracy),
    }
}

pub(super) fn target_missed(wanted: Accuracy, records: &[&Record]) -> String {
    let accuracies = records.iter().filter_map(|record| record.value.as_f64());
    let best = accuracies.reduce(f64::max).map_or("no number".into(), |best| best.to_string());
    let range = match wanted {
        Accuracy::Any => "below 1".into(),
        Accuracy::Target => format!("at least {TARGET} and below 1"),
    };
    format!("no eval_accuracy is {range}; the best of {} is {best}", records.len())
}
