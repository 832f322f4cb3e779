//! What rules say, in words.

use super::{Check, Formula, InitLimit, Join, MemberMust, Need, Relation, Rule, TargetPart, Value};

impl Need {
    /// The rest of a sentence that begins with the key.
    fn describe(&self) -> String {
        match self {
            Self::ExactlyOne => "must occur once".into(),
            Self::AtLeastOne => "must occur at least once".into(),
            Self::AtLeast(num) => format!("must occur at least {num} times"),
            Self::Or(other) => format!("must occur, or {other} instead"),
            Self::Optional => "may occur".into(),
        }
    }
}

impl Relation {
    fn describe(self, bound: &Formula) -> String {
        match self {
            Self::Above => format!("above {bound}"),
            Self::AtLeast => format!("at least {bound}"),
            Self::Below => format!("below {bound}"),
            Self::AtMost => format!("at most {bound}"),
        }
    }
}

impl MemberMust {
    /// What the member must be.
    pub(in super::super) fn describe(&self) -> String {
        match self {
            Self::Compare(relation, bound) => relation.describe(bound),
            Self::OneOf(values) => either(values),
            Self::DivisibleBy(formula) => format!("divisible by {formula}"),
        }
    }
}

impl Check {
    /// What the record must be or have.
    pub(in super::super) fn describe(&self) -> String {
        match self {
            Self::NotEmpty => "a string".into(),
            Self::OneOf(values) => either(values),
            Self::Whole => "a whole number".into(),
            Self::Integer => "an integer".into(),
            Self::Compare(relation, bound) => format!("a number {}", relation.describe(bound)),
            Self::MultipleOf(unit, None) => format!("a whole multiple of {unit}"),
            Self::MultipleOf(unit, Some(batch)) => format!(
                "a whole multiple of {unit}, or {unit} divided by a whole number if \
                 global_batch_size is below {batch}"
            ),
            Self::SecondMultipleOf(unit) => {
                format!("a list whose second item is a whole multiple of {unit}")
            }
            Self::PowerOfTwoTimes(unit) => format!("{unit} times a power of two"),
            Self::CloseTo(formula) => format!("{formula} within 1e-9"),
            Self::Equal(equation) => format!("such that {equation}"),
            Self::Length(length) => format!("a list of {length}"),
            Self::ValueHas(name) => format!("an object with {name}"),
            Self::Has(names) => names.join(" or "),
            Self::HasWith(name, other) => format!("{other} next to {name}"),
            Self::Member(name, must) => format!("{name} {}", must.describe()),
            Self::Step(step) => format!("{} = {}, then {} more", step.member, step.name, step.by),
            Self::After(key) => format!("after {key}"),
            Self::Before(key) => format!("before {key}"),
            Self::InitWithin(InitLimit::Always(minutes)) => {
                format!("at most {minutes} min after the first init_start")
            }
            Self::InitWithin(InitLimit::ByDivision { closed, open }) => format!(
                "at most {closed} min (closed) or {open} min (open) after the first init_start"
            ),
        }
    }

    /// Whether it concerns the metadata.
    fn is_about_metadata(&self) -> bool {
        matches!(self, Self::Has(_) | Self::HasWith(..) | Self::Member(..) | Self::Step(_))
    }

    /// Whether it concerns the place of the record in the log.
    fn is_about_order(&self) -> bool {
        matches!(self, Self::After(_) | Self::Before(_) | Self::InitWithin(_))
    }
}

impl TargetPart {
    /// The range that the metric must be in.
    pub(in super::super) fn describe(&self) -> String {
        let bounds = self.bounds.iter().map(|(relation, bound)| relation.describe(bound));
        let range = bounds.collect::<Vec<_>>().join(" and ");
        match &self.member {
            Some(member) => format!("{member} {range}"),
            None => range,
        }
    }
}

impl Rule {
    /// Its statements, each the rest of a sentence that begins with the key.
    pub(in super::super) fn describe(&self) -> Vec<String> {
        let mut statements = vec![self.need.describe()];
        if let Some(Join { key, by }) = &self.join {
            statements.push(format!("is joined from the {key} records of one {by}"));
        }
        statements.extend(self.checks.iter().map(|check| {
            let what = check.describe();
            if check.is_about_order() {
                format!("must come {what}")
            } else if check.is_about_metadata() {
                format!("must have {what} in its metadata")
            } else {
                format!("must be {what}")
            }
        }));
        if let Some((member, formula)) = &self.first {
            statements.push(format!("must have {member} = {formula} in its first record"));
        }
        if !self.target.is_empty() {
            let parts: Vec<_> = self.target.iter().map(TargetPart::describe).collect();
            statements.push(format!("must once be {}", parts.join(", ")));
        }
        if !self.tensors.is_empty() {
            statements.push(format!("must name each tensor once: {}", self.tensors.join(" ")));
        }
        let left = self.remember.iter().map(|(name, formula)| format!("sets {name} = {formula}"));
        statements.extend(left);
        statements
    }
}

fn either(values: &[Value]) -> String {
    let words = values.iter().map(|value| match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    });
    words.collect::<Vec<_>>().join(" or ")
}
