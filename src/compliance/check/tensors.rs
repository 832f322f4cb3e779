//! The tensors whose initialization a log must report, once each.

use std::collections::BTreeMap;

use super::super::parse::Record;
use super::super::rules::Rule;
use super::super::value::Value;

/// How often each tensor was logged.
pub(super) struct Tensors {
    known: BTreeMap<String, usize>,
    num_unknown: usize,
    /// The alphabetically first unknown name.
    first_unknown: Option<String>,
}

impl Tensors {
    /// The tensors of the rule, if it has any.
    pub(super) fn of(rule: &Rule) -> Option<Self> {
        let known = rule.tensor_names().into_iter().map(|name| (name, 0));
        let known: BTreeMap<_, _> = known.collect();
        (!known.is_empty()).then_some(Self { known, num_unknown: 0, first_unknown: None })
    }

    pub(super) fn collect(&mut self, record: &Record) {
        let name = record.metadata.get("tensor").and_then(Value::as_str).unwrap_or("?");
        if let Some(count) = self.known.get_mut(name) {
            *count += 1;
            return;
        }
        self.num_unknown += 1;
        let first = &mut self.first_unknown;
        if first.as_deref().is_none_or(|first| name < first) {
            *first = Some(name.to_owned());
        }
    }

    /// How the logged tensors differ from the rule's, if they do.
    pub(super) fn difference(&self) -> Option<String> {
        let Self { known, num_unknown, first_unknown } = self;
        let missing: Vec<_> = known.iter().filter(|(_, count)| **count == 0).collect();
        let repeated: usize = known.values().map(|count| count.saturating_sub(1)).sum();
        if missing.is_empty() && repeated == 0 && *num_unknown == 0 {
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
