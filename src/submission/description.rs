//! Checks `systems/SYSTEM.json` as `system_desc_checker` of `mlperf_logging` does, and more.

use std::path::Path;

use serde_json::{Map, Value};

use super::code::Code;
use super::finding::Findings;
use super::small_file::read_small;
use super::system::{Availability, FIELDS};
use crate::compliance::{Ruleset, python_json};

/// Fields that the reference joins into a line.
const TEXTS: [&str; 7] = [
    "submitter",
    "system_name",
    "host_processor_model_name",
    "host_processor_core_count",
    "accelerator_model_name",
    "accelerators_per_node",
    "framework",
];

/// Fields with which the reference's summarizer calculates.
const COUNTS: [&str; 3] = ["number_of_nodes", "host_processors_per_node", "accelerators_per_node"];

/// The readable part of a description.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) members: Map<String, Value>,
}

impl Description {
    /// Reads `root/path`.
    pub(super) fn read(root: &Path, path: &Path, findings: &mut Findings) -> Option<Self> {
        let text = match read_small(&root.join(path)) {
            Ok(text) => text,
            Err(error) => {
                findings.add(Code::BadDescription, path, error.to_string());
                return None;
            }
        };
        let (error, as_python) = match serde_json::from_str(&text) {
            Ok(members) => return Some(Self { members }),
            Err(error) => (error, python_json(&text)),
        };
        if let Some(members) = as_python {
            let message = format!("only Python reads it as JSON ({error})");
            findings.add(Code::PythonJson, path, message);
            return Some(Self { members });
        }
        let message = format!("it is not a JSON object ({error})");
        findings.add(Code::BadDescription, path, message);
        None
    }

    /// A member that is a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    /// Whether the reference tests seeds and convergence.
    pub(super) fn is_closed(&self) -> bool {
        self.text("division") == Some("closed")
    }

    /// Checks the description itself.
    pub(super) fn check(&self, ruleset: Ruleset, path: &Path, findings: &mut Findings) {
        if ruleset >= Ruleset::V1_0_0 {
            self.fields(path, findings);
            self.status(ruleset, path, findings);
        }
        for field in COUNTS {
            let Some(value) = self.members.get(field) else { continue };
            let counts = value.as_f64().is_some_and(|count| count >= 0.0)
                || value.as_str().is_some_and(|digits| digits.trim().parse::<u64>().is_ok());
            if !counts {
                let message = format!("{field} is {value}; it must be a whole number");
                findings.add(Code::CountNotANumber, path, message);
            }
        }
        let division = self.text("division").unwrap_or_default();
        if self.members.contains_key("division") && !matches!(division, "open" | "closed") {
            let value = &self.members["division"];
            let message = format!("division is {value}; it must be \"open\" or \"closed\"");
            findings.add(Code::DivisionWord, path, message);
        }
        self.empty_fields(path, findings);
    }

    fn fields(&self, path: &Path, findings: &mut Findings) {
        for field in FIELDS {
            if !self.members.contains_key(field) {
                findings.add(Code::MissingField, path, format!("{field} is missing"));
            }
        }
        for field in TEXTS {
            if let Some(value) = self.members.get(field).filter(|value| !value.is_string()) {
                let message = format!("{field} is {value}; it must be a string");
                findings.add(Code::FieldNotText, path, message);
            }
        }
    }

    fn status(&self, ruleset: Ruleset, path: &Path, findings: &mut Findings) {
        let Some(status) = self.members.get("status") else { return };
        let word = status.as_str().unwrap_or_default();
        if ruleset >= Ruleset::V4_0_0 && Availability::of_sentence(word).is_none() {
            let message = format!("status is {status}; it must be a phrase of ruleset 4.0.0");
            findings.add(Code::StatusUnknown, path, message);
        } else if Availability::named(word).is_none() {
            findings.add(Code::StatusNotInUse, path, format!("status is {status}"));
        }
    }

    fn empty_fields(&self, path: &Path, findings: &mut Findings) {
        let has_accelerators = self.text("accelerators_per_node") != Some("0");
        let empty = |field: &&&str| {
            let may_be = field.ends_with("_notes")
                || (field.starts_with("accelerator") && !has_accelerators);
            !may_be && self.text(field).is_some_and(|text| text.trim().is_empty())
        };
        let empty: Vec<&str> = FIELDS.iter().filter(empty).copied().collect();
        if !empty.is_empty() {
            let message = format!("{} of 33 are empty: {}", empty.len(), empty.join(", "));
            findings.add(Code::EmptyField, path, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::SystemDescription;

    fn judged(ruleset: Ruleset, change: impl Fn(&mut Map<String, Value>)) -> String {
        let system = SystemDescription::find("example").unwrap().unwrap();
        let Value::Object(mut members) = serde_json::to_value(system).unwrap() else {
            panic!("a description is an object")
        };
        change(&mut members);
        let mut findings = Findings::default();
        Description { members }.check(ruleset, Path::new("x.json"), &mut findings);
        let told = findings.sorted();
        let told = told.iter().filter(|finding| finding.code != Code::EmptyField);
        told.map(|it| format!("{} {}", it.code, it.message)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_only_python_reads_is_a_fault_and_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        for (value, text) in [
            ("1e999", None),
            ("NaN", None),
            ("\"\\ud83d\"", None),
            (deep.as_str(), None),
            ("\"Müller\"", Some("Müller")),
        ] {
            let json = format!("{{\"division\": \"closed\", \"notes\": {value}, \"other\": NaN}}");
            std::fs::write(folder.path().join("x.json"), json).unwrap();
            let mut findings = Findings::default();
            let read =
                Description::read(folder.path(), Path::new("x.json"), &mut findings).unwrap();
            assert!(read.is_closed(), "{value}");
            assert!(text.is_none() || read.text("notes") == text, "{value}");
            let codes: Vec<_> = findings.sorted().iter().map(|finding| finding.code).collect();
            assert_eq!(codes, [Code::PythonJson], "{value}");
        }
    }

    #[test]
    fn a_complete_description_has_no_findings() {
        assert_eq!(judged(Ruleset::V4_0_0, |_| ()), "");
    }

    #[test]
    fn fields_must_exist_and_some_must_be_strings() {
        let found = judged(Ruleset::V4_0_0, |members| {
            members.remove("cooling");
            members.insert("framework".into(), 7.into());
            members.insert("number_of_nodes".into(), "one".into());
            members.insert("division".into(), "Closed".into());
        });
        insta::assert_snapshot!(found, @r#"
        field-not-text framework is 7; it must be a string
        missing-field cooling is missing
        count-not-a-number number_of_nodes is "one"; it must be a whole number
        division-word division is "Closed"; it must be "open" or "closed"
        "#);
    }

    #[test]
    fn each_round_has_its_own_status_values() {
        let with = |ruleset, status: &'static str| {
            judged(ruleset, |members| drop(members.insert("status".into(), status.into())))
        };
        assert_eq!(with(Ruleset::V3_0_0, "onprem"), "");
        assert_eq!(with(Ruleset::V3_1_0, "Available on-premise"), "");
        assert_eq!(with(Ruleset::V2_0_0, "for sale"), "status-not-in-use status is \"for sale\"");
        assert!(with(Ruleset::V4_0_0, "onprem").starts_with("status-unknown status is \"onprem\""));
    }
}
