//! The state that earlier records have left, and the checks of a record against it.

use std::collections::BTreeMap;

use super::code::Code;
use super::parse::Record;
use super::rules::{Accuracy, Check, InitLimit, Mark, TARGET, reference_tensors};
use super::value::Value;

/// The effects of the records so far.
pub(super) struct State {
    reached: Vec<Mark>,
    /// In ms since the Unix epoch; a huge number until there is one.
    first_init_ms: f64,
    init_limit_min: f64,
    tensors: Tensors,
}

/// The tensors whose initialization was logged.
#[derive(Default)]
struct Tensors {
    /// How often each of the reference's tensors was logged.
    known: BTreeMap<String, usize>,
    num_unknown: usize,
    /// The alphabetically first unknown name.
    first_unknown: Option<String>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            reached: Vec::new(),
            first_init_ms: 9e99,
            init_limit_min: 0.0,
            tensors: Tensors::default(),
        }
    }

    pub(super) fn reach(&mut self, mark: Mark, record: &Record) {
        if !self.reached.contains(&mark) {
            self.reached.push(mark);
        }
        // Like the reference, `f64::min` ignores a NaN.
        if mark == Mark::InitStarted {
            self.first_init_ms = self.first_init_ms.min(record.time_ms);
        }
    }

    pub(super) fn limit_init(&mut self, minutes: f64) {
        self.init_limit_min = minutes;
    }

    pub(super) fn collect_tensor(&mut self, record: &Record) {
        let known = &mut self.tensors.known;
        if known.is_empty() {
            known.extend(reference_tensors().into_iter().map(|name| (name, 0)));
        }
        let name = record.metadata.get("tensor").and_then(Value::as_str).unwrap_or("?");
        if let Some(count) = known.get_mut(name) {
            *count += 1;
            return;
        }
        self.tensors.num_unknown += 1;
        let first = &mut self.tensors.first_unknown;
        if first.as_deref().is_none_or(|first| name < first) {
            *first = Some(name.to_owned());
        }
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
            Check::NotEmpty => value_must(value.as_str() != Some(""), "a string".into()),
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
                metadata_must(!has(name) || has(other), format!("{other} next to {name}"))
            }
            Check::MemberPositive(name) => metadata_must(
                !has(name) || member(name).is_some_and(|x| x > 0.0),
                format!("{name} above 0"),
            ),
            Check::MemberNotNegative(name) => metadata_must(
                !has(name) || member(name).is_some_and(|x| x >= 0.0),
                format!("{name} of at least 0"),
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
            "comes before submission_division, which sets the time limit".into()
        };
        Some((Code::InitTooLong, complaint))
    }

    /// How the logged tensors differ from the reference's, if they do.
    pub(super) fn tensors_differ(&self) -> Option<String> {
        let Tensors { known, num_unknown, first_unknown } = &self.tensors;
        let missing: Vec<_> = known.iter().filter(|(_, count)| **count == 0).collect();
        let repeated: usize = known.values().map(|count| count.saturating_sub(1)).sum();
        if known.is_empty() || (missing.is_empty() && repeated == 0 && *num_unknown == 0) {
            return None;
        }
        let listed = |num: usize, first: Option<&str>| match first {
            None => "0".into(),
            Some(first) => format!("{num} ({first} first)"),
        };
        Some(format!(
            "the tensors of weights_initialization are not the reference's {}: {} missing, {} \
             unknown, {repeated} repeated",
            known.len(),
            listed(missing.len(), missing.first().map(|(name, _)| name.as_str())),
            listed(*num_unknown, first_unknown.as_deref()),
        ))
    }
}

/// Whether `x` is whole within the reference's tolerance; false for a non-finite value, for which
/// the reference raises an error.
fn is_whole(x: f64) -> bool {
    (x.round() - x).abs() < 1e-5
}

pub(super) fn meets(wanted: Accuracy, accuracy: f64) -> bool {
    match wanted {
        Accuracy::Any => accuracy < 1.0,
        Accuracy::Target => (TARGET..1.0).contains(&accuracy),
    }
}

/// The message for `num` evaluations, the best of which is `best`.
pub(super) fn target_missed(wanted: Accuracy, num: usize, best: Option<f64>) -> String {
    let best = best.map_or("no number".into(), |best| best.to_string());
    let range = match wanted {
        Accuracy::Any => "below 1".into(),
        Accuracy::Target => format!("at least {TARGET} and below 1"),
    };
    format!("no eval_accuracy is {range}; the best of {num} is {best}")
}
