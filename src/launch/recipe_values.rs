//! Compares what two recipes train.

use std::collections::{BTreeMap, BTreeSet};

/// The first value in which two recipes differ, as `key = value`. Left out are `ignored` keys, and those
/// that say how long to wait, what to save and how often to run.
///
/// # Errors
/// A text is no TOML.
pub(super) fn first_difference(
    texts: [&str; 2],
    ignored: &[&str],
) -> Result<Option<[String; 2]>, toml::de::Error> {
    let [one, other] = texts.map(|text| values(text, ignored));
    let (one, other) = (one?, other?);
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = keys.into_iter().find(|key| one.get(*key) != other.get(*key));
    Ok(differing.map(|key| {
        [&one, &other].map(|values| match values.get(key) {
            Some(value) => format!("{key} = {value}"),
            None => format!("{key} unset"),
        })
    }))
}

/// The values of a recipe by key, as TOML.
fn values(text: &str, ignored: &[&str]) -> Result<BTreeMap<String, String>, toml::de::Error> {
    const SECTIONS: [&str; 2] = ["train.checkpoint.", "train.watch."];
    const KEYS: [&str; 2] = ["train.ddp.timeout_s", "mlperf.runs"];
    let mut values = BTreeMap::new();
    flatten("", &toml::Value::Table(toml::from_str(text)?), &mut values);
    values.retain(|key, _| {
        !SECTIONS.iter().any(|section| key.starts_with(section))
            && !KEYS.iter().chain(ignored).any(|left_out| left_out == key)
    });
    Ok(values)
}

fn flatten(key: &str, value: &toml::Value, values: &mut BTreeMap<String, String>) {
    let Some(table) = value.as_table() else {
        values.insert(key.to_owned(), value.to_string());
        return;
    };
    for (name, value) in table {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        flatten(&key, value, values);
    }
}
