//! A value of a recipe that may change during the run.
//!
//! A key takes one value, or the parts of the run with a value or a ramp each:
//!
//! ```toml
//! crop_size = 176
//! crop_size = [{ until = "12ep", value = 96 }, { until = "18ep", from = 96, to = 160 }, { value = 208 }]
//! ```
//!
//! An epoch belongs to the part in which its first step lies. On a ramp, the first epoch has `from` and
//! the last one `to`; image sizes are rounded to a multiple of `multiple_of`. Only the learning rate moves
//! within an epoch: its ramp is at `from` in the first step and reaches `to` in the first step after it.

use std::{borrow::Cow, fmt::Debug, ops::Range};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
};
use toml::Value;

use super::{RunLength, Time};
use crate::problems::Problems;

/// Image sizes of a ramp are multiples of it, px, unless the recipe says otherwise.
const MULTIPLE_OF: usize = 8;

/// One value, or one for each part of the run.
#[derive(Clone, Debug, PartialEq)]
pub enum ByEpoch<T> {
    /// The same throughout.
    Always(T),
    /// In the order of the run.
    Parts(Vec<Part<T>>),
}

/// A part of the run: `value`, or a ramp with `from` and `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part<T> {
    /// Time from the start of the run at which the part ends; absent: at the end of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
    /// The value throughout the part.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<T>,
    /// First value of a ramp.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<T>,
    /// Last value of a ramp.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<T>,
    /// Image sizes of a ramp are multiples of it, px; absent: 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    multiple_of: Option<usize>,
}

/// A part in a run of known length.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<T> {
    /// Steps of the run, from 0; the last one may exceed it.
    steps: Range<usize>,
    from: T,
    to: T,
    multiple_of: usize,
}

/// A value that can move from one to another.
pub trait Ramp: Copy + Debug + PartialEq {
    /// Whether the value is an image size, px.
    const IS_SIZE: bool = false;

    /// The point a `fraction` of the way from `from` to `to`.
    fn between(from: Self, to: Self, fraction: f64) -> Self;

    /// The nearest multiple of `multiple`, for image sizes.
    #[must_use]
    fn rounded_to(self, _multiple: usize) -> Self {
        self
    }
}

impl Ramp for f64 {
    fn between(from: Self, to: Self, fraction: f64) -> Self {
        from + (to - from) * fraction
    }
}

impl Ramp for [f64; 2] {
    fn between(from: Self, to: Self, fraction: f64) -> Self {
        [0, 1].map(|i| f64::between(from[i], to[i], fraction))
    }
}

impl Ramp for usize {
    const IS_SIZE: bool = true;

    fn between(from: Self, to: Self, fraction: f64) -> Self {
        f64::between(from as f64, to as f64, fraction).round_ties_even() as Self
    }

    fn rounded_to(self, multiple: usize) -> Self {
        (self as f64 / multiple as f64).round_ties_even() as Self * multiple
    }
}

impl<T> From<T> for ByEpoch<T> {
    fn from(value: T) -> Self {
        Self::Always(value)
    }
}

impl<T: Copy> ByEpoch<T> {
    /// The value, if it never changes.
    pub fn always(&self) -> Option<T> {
        match self {
            Self::Always(value) => Some(*value),
            Self::Parts(_) => None,
        }
    }

    /// Whether the value changes during the run.
    pub fn changes(&self) -> bool {
        matches!(self, Self::Parts(_))
    }

    /// Every value that is written down.
    pub fn values(&self) -> Vec<T> {
        match self {
            Self::Always(value) => vec![*value],
            Self::Parts(parts) => {
                parts.iter().flat_map(|p| [p.value, p.from, p.to]).flatten().collect()
            }
        }
    }
}

impl ByEpoch<f64> {
    /// The greatest value; 0 of an empty list.
    pub fn peak(&self) -> f64 {
        self.values().into_iter().reduce(f64::max).unwrap_or(0.0)
    }
}

impl<T: Ramp> ByEpoch<T> {
    /// Adds what is wrong with the form, and what `each` finds wrong with a value.
    pub fn check(
        &self,
        key: &str,
        problems: &mut Problems,
        mut each: impl FnMut(&str, T, &mut Problems),
    ) {
        self.values().into_iter().for_each(|value| each(key, value, problems));
        let Self::Parts(parts) = self else { return };
        if parts.is_empty() {
            problems.add(format!(
                "{key} is an empty list; write one value, or parts of the run such as \
                 [{{ until = \"12ep\", value = A }}, {{ value = B }}]"
            ));
        }
        for (number, part) in (1..).zip(parts) {
            part.check(&format!("{key}: part {number}"), problems);
            if part.until.is_none() && number < parts.len() {
                problems.add(format!(
                    "{key}: part {number} of {} has no until, and only the last one may lack it; \
                     add it, as in until = \"12ep\"",
                    parts.len()
                ));
            }
        }
    }

    /// The parts in a run of `run_length`, whose times `ratio` scales. One value is one part.
    pub fn spans(
        &self,
        key: &str,
        (run_length, ratio): (&RunLength, f64),
        problems: &mut Problems,
    ) -> Vec<Span<T>> {
        let total = run_length.total_steps();
        let parts = match self {
            Self::Always(value) => return vec![Span::constant(*value, total)],
            Self::Parts(parts) => parts,
        };
        let mut spans = Vec::new();
        let (mut start, mut before) = (0, None);
        for (number, part) in (1..).zip(parts) {
            let end = part
                .until
                .map_or(total, |time| time.scaled(ratio, run_length).to_steps(run_length));
            if let Some(until) = part.until {
                let name = format!("{key}: until (\"{until}\") of part {number}");
                if end == 0 {
                    problems.add(format!("{name} is no step; raise it"));
                } else if let Some(before) = before
                    && end <= start
                {
                    problems.add(format!(
                        "{name} is not after that of the part before (\"{before}\"); sort the parts by \
                         until"
                    ));
                } else if number == parts.len() && end < total {
                    problems.add(format!(
                        "{key}: the last until (\"{until}\") is before the end of the run ({} epochs of \
                         {} steps); raise it, or leave it out for \"to the end\"",
                        run_length.num_epochs, run_length.steps_per_epoch
                    ));
                }
            }
            if let Some((from, to)) = part.ends()
                && start < end
            {
                let multiple_of = part.multiple_of.unwrap_or(MULTIPLE_OF);
                spans.push(Span { steps: start..end, from, to, multiple_of });
            }
            (start, before) = (end.max(start), part.until);
        }
        spans
    }

    /// The value of each epoch of a run.
    pub fn by_epoch(
        &self,
        key: &str,
        (run_length, ratio): (&RunLength, f64),
        problems: &mut Problems,
    ) -> Vec<T> {
        let RunLength { steps_per_epoch, num_epochs, .. } = *run_length;
        let mut values = Vec::with_capacity(num_epochs);
        for span in self.spans(key, (run_length, ratio), problems) {
            let first = span.steps.start.div_ceil(steps_per_epoch);
            let num = span.steps.end.div_ceil(steps_per_epoch) - first;
            if num == 0 {
                problems.add(format!(
                    "{key}: no epoch begins between steps {} and {} of the run; write whole epochs",
                    span.steps.start, span.steps.end
                ));
            }
            if num == 1 && span.from != span.to {
                problems.add(format!(
                    "{key}: the ramp from {:?} to {:?} is one epoch long; write its value, or make it \
                     longer",
                    span.from, span.to
                ));
            }
            let left = num_epochs - values.len();
            values.extend((0..num.min(left)).map(|i| span.at(i as f64 / (num - 1).max(1) as f64)));
        }
        values
    }
}

impl<T: Ramp> Part<T> {
    fn ends(&self) -> Option<(T, T)> {
        match (self.value, self.from, self.to) {
            (Some(value), None, None) => Some((value, value)),
            (None, Some(from), Some(to)) => Some((from, to)),
            _ => None,
        }
    }

    fn check(&self, place: &str, problems: &mut Problems) {
        if let Some(until) = self.until {
            until.check(&format!("{place}: until"), problems);
        }
        if self.ends().is_none() {
            problems.add(format!(
                "{place} must have either value, or both from and to; write one of them"
            ));
        }
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from == to
        {
            problems
                .add(format!("{place} is a ramp from {from:?} to {to:?}; write value = {to:?}"));
        }
        match self.multiple_of {
            Some(_) if !T::IS_SIZE || self.from.is_none() => {
                problems
                    .add(format!("{place}: multiple_of is for ramps of image sizes; remove it"));
            }
            Some(0) => problems.one_or_more(&format!("{place}: multiple_of"), 0),
            multiple_of => {
                let multiple = multiple_of.unwrap_or(MULTIPLE_OF);
                let ends = [("from", self.from), ("to", self.to)];
                for (name, end) in ends.into_iter().filter_map(|(name, end)| Some((name, end?))) {
                    if end.rounded_to(multiple) != end {
                        problems.add(format!(
                            "{place}: {name} ({end:?}) is not a multiple of multiple_of ({multiple}); \
                             change one of them"
                        ));
                    }
                }
            }
        }
    }
}

impl<T: Ramp> Span<T> {
    fn constant(value: T, num_steps: usize) -> Self {
        Self { steps: 0..num_steps, from: value, to: value, multiple_of: MULTIPLE_OF }
    }

    /// Steps in which the value rises.
    pub fn rising_steps(&self) -> usize
    where
        T: PartialOrd,
    {
        if self.from < self.to { self.steps.len() } else { 0 }
    }

    /// The value a `fraction` of the way.
    fn at(&self, fraction: f64) -> T {
        if self.from == self.to {
            return self.from;
        }
        T::between(self.from, self.to, fraction).rounded_to(self.multiple_of)
    }

    /// The value in `step` of the run, by the span of `spans` that it lies in.
    pub fn of_step(spans: &[Self], step: usize) -> Option<T> {
        let span = spans.iter().find(|span| step < span.steps.end).or(spans.last())?;
        let (gone, length) = (step.saturating_sub(span.steps.start), span.steps.len());
        Some(span.at((gone as f64 / length as f64).min(1.0)))
    }
}

impl<T: Serialize> Serialize for ByEpoch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Always(value) => value.serialize(serializer),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

/// A value, a part, or a list of parts.
impl<T: JsonSchema> JsonSchema for ByEpoch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}ByEpoch", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        let part = generator.subschema_for::<Part<T>>();
        json_schema!({ "anyOf": [value, part, { "type": "array", "items": part, "minItems": 1 }] })
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for ByEpoch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let part = |(number, value): (usize, Value)| {
            let part = Part::deserialize(value);
            part.map_err(|error| D::Error::custom(format!("part {number}: {}", error.message())))
        };
        match Value::deserialize(deserializer)? {
            Value::Array(parts) if parts.iter().all(Value::is_table) => {
                (1..).zip(parts).map(part).collect::<Result<_, _>>().map(Self::Parts)
            }
            one @ Value::Table(_) => Ok(Self::Parts(vec![part((1, one))?])),
            value => match T::deserialize(value) {
                Ok(value) => Ok(Self::Always(value)),
                Err(error) => Err(D::Error::custom(error.message())),
            },
        }
    }
}

#[cfg(test)]
mod tests;
