//! The rules as data. The TOML files of this folder hold what the rule files of the reference say:
//! `any_benchmark.toml` for every log, and one file for each benchmark.
//!
//! A file has a table for each division, with the rulesets in which the division has the benchmark.
//! Each key has one rule, or one for each span of rulesets. [`Rule`] documents the kinds of rules.

mod catalogue;
mod describe;
mod explain;
mod formula;
mod pattern;
mod text;

use super::ruleset::Ruleset;
use super::value::Value;
use crate::mlperf::Division;

pub(super) use catalogue::{Catalogue, RuleFile};
pub use catalogue::{benchmarks, latest_ruleset};
pub use explain::{KeyRule, explain};
pub(super) use formula::{Equation, Formula};
#[cfg(feature = "fuzz")]
pub(super) use text::statements;

/// What a rule file says about one key.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) key: String,
    pub(super) need: Need,
    /// What every record must meet (for `submission_*` keys, only the first).
    pub(super) checks: Vec<Check>,
    /// What the first record's metadata must have: a member, with this value as an integer.
    pub(super) first: Option<(String, Formula)>,
    /// What one of the records must meet. Empty if there is no such condition.
    pub(super) target: Vec<TargetPart>,
    /// Values that a record leaves for later formulas, by name and in this order.
    pub(super) remember: Vec<(String, Formula)>,
    /// Whether the record's own value is left too, under the key.
    pub(super) is_remembered: bool,
    /// The value of a record selects further rules.
    pub(super) selects: Option<Selects>,
    /// Patterns of the tensors that must occur once each in `metadata.tensor`.
    pub(super) tensors: Vec<String>,
    /// The records are not in the log; each is joined from several records of another key.
    pub(super) join: Option<Join>,
}

/// How often a key must occur.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Need {
    /// Exactly once; repeating it with equal values is a warning.
    #[default]
    ExactlyOne,
    AtLeastOne,
    AtLeast(usize),
    /// This key or the other one.
    Or(String),
    Optional,
}

/// What a record must meet.
#[derive(Clone, Debug)]
pub(super) enum Check {
    /// The value is not the empty string (null passes).
    NotEmpty,
    /// The value equals one of these, as Python compares.
    OneOf(Vec<Value>),
    /// The value is a number and whole within 1e-5.
    Whole,
    /// The value is an integer or a boolean.
    Integer,
    /// The value is a number in this relation to another one.
    Compare(Relation, Formula),
    /// The value is a whole multiple of the unit. If `global_batch_size` is below the second number,
    /// the value may also divide the unit.
    MultipleOf(f64, Option<f64>),
    /// The second item of the value is a whole multiple of this.
    SecondMultipleOf(f64),
    /// The value is this times a power of two.
    PowerOfTwoTimes(f64),
    /// The value differs from this by less than 1e-9.
    CloseTo(Formula),
    /// Both sides are equal.
    Equal(Equation),
    /// The value has this many items.
    Length(usize),
    /// The value has this member.
    ValueHas(String),
    /// The metadata has one of these members.
    Has(Vec<String>),
    /// If the metadata has the first member, it also has the second one.
    HasWith(String, String),
    /// If the metadata has this member, it meets the condition.
    Member(String, MemberMust),
    /// The member of the metadata has the remembered value, which then rises by the second name's.
    Step(Step),
    /// A record with this key comes before.
    After(String),
    /// No record with this key comes before.
    Before(String),
    /// Less than this many minutes have passed since the earliest `init_start`.
    InitWithin(InitLimit),
}

/// How a number compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Relation {
    pub(super) fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Above => number > bound,
            Self::AtLeast => number >= bound,
            Self::Below => number < bound,
            Self::AtMost => number <= bound,
        }
    }
}

/// What a member of the metadata must meet.
#[derive(Clone, Debug)]
pub(super) enum MemberMust {
    Compare(Relation, Formula),
    OneOf(Vec<Value>),
    /// A whole multiple of this, exactly.
    DivisibleBy(Formula),
}

/// Evaluations that must come in steps of equal size.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) member: String,
    pub(super) name: String,
    pub(super) by: String,
}

/// The time limit on initialization, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(untagged, expecting = "minutes, or minutes for closed and open")]
pub(super) enum InitLimit {
    Always(f64),
    /// Every time is rejected until the division has been logged.
    ByDivision {
        closed: f64,
        open: f64,
    },
}

/// A condition on an accuracy or on one of several metrics.
#[derive(Clone, Debug)]
pub(super) struct TargetPart {
    /// The member of the value that is compared, instead of the value itself.
    pub(super) member: Option<String>,
    pub(super) bounds: Vec<(Relation, Formula)>,
    /// The metric improves as it falls.
    pub(super) falls: bool,
}

impl TargetPart {
    /// Whether `value` meets all `parts`; `None` where Python raises an error.
    pub(super) fn all_met(
        parts: &[Self],
        value: &Value,
        lookup: &dyn Fn(&str) -> Option<f64>,
    ) -> Option<bool> {
        for part in parts {
            let metric = match &part.member {
                Some(member) => value.get(member)?,
                None => value,
            };
            let number = metric.as_f64()?;
            for (relation, bound) in &part.bounds {
                if !relation.holds(number, bound.value(lookup)?) {
                    return Some(false);
                }
            }
        }
        Some(true)
    }
}

/// What a key's value selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Selects {
    Division,
    Benchmark,
    Optimizer,
}

/// How records of several metrics become one record.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    /// The key of the records, which name their metric in `metadata.metric`.
    pub(super) key: String,
    /// The member of the metadata that records of one evaluation share.
    pub(super) by: String,
}

impl Rule {
    /// The tensors that must occur once each.
    pub(super) fn tensor_names(&self) -> Vec<String> {
        self.tensors.iter().flat_map(|pattern| pattern::names(pattern)).collect()
    }
}
