//! The hyperparameters and seeds that a log reports.

use super::parse::Record;
use super::value::Value;
use crate::mllog::Key;

/// Hyperparameters by key, in log order. The first record of a key counts.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<(Key, Value)>);

impl Settings {
    pub(super) fn see(&mut self, key: Key, record: &Record) {
        if is_setting(key) && self.get(key).is_none() {
            self.0.push((key, record.value.clone()));
        }
    }

    fn get(&self, key: Key) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The number of training images in an epoch, `train_samples`.
    pub fn num_train(&self) -> Option<f64> {
        self.get(Key::TrainSamples).and_then(Value::as_f64)
    }

    /// The first key for which both logs have different values, with the values: this one's first.
    pub fn difference<'a>(
        &'a self,
        other: &'a Self,
    ) -> Option<(&'static str, &'a Value, &'a Value)> {
        self.0.iter().find_map(|(key, value)| {
            let theirs = other.get(*key)?;
            (!value.same(theirs)).then(|| (key.as_str(), value, theirs))
        })
    }
}

fn is_setting(key: Key) -> bool {
    let name = key.as_str();
    matches!(
        key,
        Key::GlobalBatchSize
            | Key::GradientAccumulationSteps
            | Key::TrainSamples
            | Key::EvalSamples
    ) || ["opt_", "lars_", "sgd_"].iter().any(|family| name.starts_with(family))
}

/// One `seed`, as the reference's seed checker reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Line number, from 1.
    pub line: usize,
    /// Python's `int(value)` as digits; `None` where Python raises an error.
    pub value: Option<String>,
    /// `metadata.file` and `metadata.lineno`, the source line that logged it. `None` if one of them
    /// is missing or unhashable in Python.
    pub site: Option<String>,
}

impl Seed {
    pub(super) fn of(record: &Record) -> Self {
        let part = |name: &str| record.metadata.get(name).and_then(hashed);
        Self {
            line: record.line,
            value: python_int(&record.value),
            site: part("file").zip(part("lineno")).map(|(file, line)| format!("{file}:{line}")),
        }
    }
}

/// A string that two values share exactly if they are the same key of a Python dictionary.
pub(super) fn hashed(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Null => Some("null".into()),
        Value::Float(float) if float.fract() != 0.0 || !float.is_finite() => {
            Some(float.to_string())
        }
        Value::List(_) | Value::Map(_) => None,
        number => python_int(number),
    }
}

/// Python's `int(value)` as digits; `None` where Python raises an error.
pub(super) fn python_int(value: &Value) -> Option<String> {
    match value {
        Value::Bool(yes) => Some(u8::from(*yes).to_string()),
        Value::Int(int) => Some(int.to_string()),
        Value::Huge(digits) => Some(digits.clone()),
        // Adding zero removes the sign of a negative zero.
        Value::Float(float) if float.is_finite() => Some(format!("{:.0}", float.trunc() + 0.0)),
        Value::Text(text) => int_of_text(text.trim()),
        _ => None,
    }
}

/// Python's `int(text)` for decimal digits, with a sign and single underscores between them.
fn int_of_text(text: &str) -> Option<String> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let groups = digits.split('_');
    let sound = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    if !groups.clone().all(sound) {
        return None;
    }
    let digits: String = groups.collect();
    let digits = digits.trim_start_matches('0');
    Some(if digits.is_empty() { "0".into() } else { format!("{sign}{digits}") })
}

#[cfg(test)]
mod tests {
    use super::super::{Ruleset, check_bytes};
    use super::*;

    fn seed(value: &str, metadata: &str) -> Seed {
        let line = format!(
            ":::MLLOG {{\"time_ms\": 1, \"key\": \"seed\", \"value\": {value}, \"metadata\": \
             {metadata}}}"
        );
        check_bytes(line.as_bytes(), Ruleset::LAST_WITH_RESNET).seeds.remove(0)
    }

    #[test]
    fn seeds_are_read_as_python_reads_integers() {
        let value = |json: &str| seed(json, "{}").value;
        for (json, wanted) in [
            ("7", "7"),
            ("7.9", "7"),
            ("-7.9", "-7"),
            ("-0.2", "0"),
            ("true", "1"),
            ("\" -0_07 \"", "-7"),
            ("\"+7\"", "7"),
            ("1e300", &format!("{:.0}", 1e300)),
        ] {
            assert_eq!(value(json).as_deref(), Some(wanted), "{json}");
        }
        for json in ["null", "\"7.0\"", "\"\"", "\"_7\"", "\"7__7\"", "\"-\"", "[7]", "NaN"] {
            assert_eq!(value(json), None, "{json}");
        }
    }

    #[test]
    fn a_site_needs_file_and_line() {
        let site = |metadata: &str| seed("1", metadata).site;
        assert_eq!(site(r#"{"file": "a.py", "lineno": 4}"#).as_deref(), Some("a.py:4"));
        assert_eq!(site(r#"{"file": "a.py", "lineno": 4.0}"#).as_deref(), Some("a.py:4"));
        for metadata in ["{}", "null", r#"{"file": "a.py"}"#, r#"{"file": ["a.py"], "lineno": 4}"#]
        {
            assert_eq!(site(metadata), None, "{metadata}");
        }
    }

    #[test]
    fn settings_differ_by_value_and_not_by_form() {
        let settings = |batch: &str| {
            let line = format!(
                ":::MLLOG {{\"time_ms\": 1, \"key\": \"global_batch_size\", \"value\": {batch}, \
                 \"metadata\": {{}}}}"
            );
            check_bytes(line.as_bytes(), Ruleset::LAST_WITH_RESNET).settings
        };
        assert!(settings("32").difference(&settings("32.0")).is_none());
        let (one, other) = (settings("32"), settings("64"));
        let (key, ours, theirs) = one.difference(&other).unwrap();
        let said = (key, ours.to_string(), theirs.to_string());
        assert_eq!(said, ("global_batch_size", "32".into(), "64".into()));
        assert!(one.difference(&Settings::default()).is_none());
    }
}
