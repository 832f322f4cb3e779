//! System descriptions: the 33 fields of MLPerf's `systems/SYSTEM.json`, written as TOML in
//! `configs/systems/` or filled in from the machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{compliance::Ruleset, mlperf::Division};

/// The folder of descriptions, relative to the current folder.
const FOLDER: &str = "configs/systems";

const TEXTS: &str = "a description consists of strings";

/// Built-in descriptions: name and text.
const BUILT_IN: [(&str, &str); 1] =
    [("example", include_str!("../../configs/systems/example.toml"))];

/// Names of the fields, all of which are required.
pub(super) const FIELDS: [&str; 33] = [
    "submitter",
    "division",
    "status",
    "system_name",
    "number_of_nodes",
    "host_processors_per_node",
    "host_processor_model_name",
    "host_processor_core_count",
    "host_processor_vcpu_count",
    "host_processor_frequency",
    "host_processor_caches",
    "host_processor_interconnect",
    "host_memory_capacity",
    "host_storage_type",
    "host_storage_capacity",
    "host_networking",
    "host_networking_topology",
    "host_memory_configuration",
    "accelerators_per_node",
    "accelerator_model_name",
    "accelerator_host_interconnect",
    "accelerator_frequency",
    "accelerator_on-chip_memories",
    "accelerator_memory_configuration",
    "accelerator_memory_capacity",
    "accelerator_interconnect",
    "accelerator_interconnect_topology",
    "cooling",
    "hw_notes",
    "framework",
    "other_software_stack",
    "operating_system",
    "sw_notes",
];

/// A system description with MLPerf's field names. Unknown and missing keys are errors. Counts are
/// digits in quotes, because the checkers read them like that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemDescription {
    /// The submitter; `submission_org` of the log.
    pub submitter: String,
    /// `open` or `closed`.
    pub division: Division,
    /// How the system is available.
    pub status: Availability,
    /// The system's name; `submission_platform` of the log.
    pub system_name: String,
    /// Number of machines.
    pub number_of_nodes: String,
    /// Processors per machine.
    pub host_processors_per_node: String,
    /// Processor model.
    pub host_processor_model_name: String,
    /// Cores per processor.
    pub host_processor_core_count: String,
    /// Threads per processor.
    pub host_processor_vcpu_count: String,
    /// Processor clock rate.
    pub host_processor_frequency: String,
    /// Processor caches.
    pub host_processor_caches: String,
    /// Interconnect of the processors.
    pub host_processor_interconnect: String,
    /// Memory per machine.
    pub host_memory_capacity: String,
    /// Kind of disks.
    pub host_storage_type: String,
    /// Size of the disks.
    pub host_storage_capacity: String,
    /// Network between the machines.
    pub host_networking: String,
    /// Topology of that network.
    pub host_networking_topology: String,
    /// Memory modules.
    pub host_memory_configuration: String,
    /// GPUs per machine, in digits.
    pub accelerators_per_node: String,
    /// GPU model.
    pub accelerator_model_name: String,
    /// Interconnect between GPU and processor.
    pub accelerator_host_interconnect: String,
    /// GPU clock rate.
    pub accelerator_frequency: String,
    /// GPU caches and registers.
    #[serde(rename = "accelerator_on-chip_memories")]
    pub accelerator_on_chip_memories: String,
    /// Kind of GPU memory.
    pub accelerator_memory_configuration: String,
    /// Memory per GPU.
    pub accelerator_memory_capacity: String,
    /// Interconnect of the GPUs.
    pub accelerator_interconnect: String,
    /// Topology of that interconnect.
    pub accelerator_interconnect_topology: String,
    /// Cooling, such as air or water.
    pub cooling: String,
    /// Notes on the hardware.
    pub hw_notes: String,
    /// Training framework.
    pub framework: String,
    /// Libraries and drivers.
    pub other_software_stack: String,
    /// Operating system.
    pub operating_system: String,
    /// Notes on the software.
    pub sw_notes: String,
}

/// How a system is available. The strings are those of ruleset 4.0.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Availability {
    /// Can be bought.
    #[serde(rename = "Available on-premise")]
    OnPremise,
    /// Can be rented.
    #[serde(rename = "Available cloud")]
    Cloud,
    /// Can be bought or rented soon.
    #[serde(rename = "Preview")]
    Preview,
    /// None of these.
    #[serde(rename = "Research, Development, or Internal (RDI)")]
    Research,
}

/// Why there is no description.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The file exists but cannot be read.
    #[error("cannot read the system description {} ({source})", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The text is not a description.
    #[error("{label}: {message}")]
    Text {
        /// The file, or the name of a built-in description.
        label: String,
        /// What is wrong with it.
        message: String,
    },
    /// Fields are missing.
    #[error("{label}: missing {fields}; add them, if only as \"\"")]
    Missing {
        /// The file, or the name of a built-in description.
        label: String,
        /// Their names.
        fields: String,
    },
    /// The submitter or the system's name is missing.
    #[error(
        "the system description has an empty {0}; fill it in, or name the submitter with \
         --submitter"
    )]
    Nameless(&'static str),
    /// There is no description with this name.
    #[error(
        "no system description is called {0:?}; write configs/systems/{0}.toml, or name a file \
         NAME.toml"
    )]
    Unknown(String),
    /// A count is not a number.
    #[error("{label}: {field} ('{value}') must be a whole number in quotes, such as \"8\"")]
    Count {
        /// The file, or the name of a built-in description.
        label: String,
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
    },
}

impl Availability {
    const ALL: [Self; 4] = [Self::OnPremise, Self::Cloud, Self::Preview, Self::Research];

    /// The phrase of ruleset 4.0.0.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::OnPremise => "Available on-premise",
            Self::Cloud => "Available cloud",
            Self::Preview => "Preview",
            Self::Research => "Research, Development, or Internal (RDI)",
        }
    }

    /// The value for a description: the log's word before round v3.1, the phrase since then, as in
    /// published descriptions. The reference requires the phrase only from 4.0.0 on.
    pub fn described(self, ruleset: Ruleset) -> &'static str {
        if ruleset >= Ruleset::V3_1_0 { self.sentence() } else { self.log_word() }
    }

    /// Parses a phrase of ruleset 4.0.0.
    pub fn of_sentence(sentence: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.sentence() == sentence)
    }

    /// Parses a phrase of ruleset 4.0.0 or a word of a log.
    pub fn named(word: &str) -> Option<Self> {
        let log = Self::ALL.into_iter().find(|it| it.log_word() == word);
        Self::of_sentence(word).or(log)
    }

    /// The word for a log's `submission_status`; logs never use the phrases.
    pub fn log_word(self) -> &'static str {
        match self {
            Self::OnPremise => "onprem",
            Self::Cloud => "cloud",
            Self::Preview => "preview",
            Self::Research => "research",
        }
    }
}

impl SystemDescription {
    /// The description called `name`: `./configs/systems/NAME.toml`, otherwise a built-in one,
    /// otherwise `None`. A name that ends in `.toml` is a path.
    pub fn find(name: &str) -> Result<Option<Self>, SystemError> {
        let path = Path::new(name);
        if path.extension().is_some_and(|end| end == "toml") {
            let text = fs::read_to_string(path)
                .map_err(|source| SystemError::Read { path: path.into(), source })?;
            return Self::parse(name, &text).map(Some);
        }
        Self::find_in(Path::new(FOLDER), name)
    }

    fn find_in(folder: &Path, name: &str) -> Result<Option<Self>, SystemError> {
        let path = folder.join(format!("{name}.toml"));
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path.display().to_string(), &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BUILT_IN
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(known, text)| Self::parse(known, text))
                .transpose(),
            Err(source) => Err(SystemError::Read { path, source }),
        }
    }

    /// This description, with empty fields filled in from `other`.
    #[must_use]
    pub fn completed_by(&self, other: &Self) -> Self {
        let [mut ours, theirs] = [self, other].map(|system| Table::try_from(system).expect(TEXTS));
        for (field, value) in theirs {
            if ours.get(&field).and_then(Value::as_str) == Some("") {
                ours.insert(field, value);
            }
        }
        ours.try_into().expect("it has the fields of two descriptions")
    }

    /// Accelerators of all machines.
    pub fn num_accelerators(&self) -> Option<usize> {
        let count = |digits: &str| digits.trim().parse::<usize>().ok();
        count(&self.number_of_nodes)?.checked_mul(count(&self.accelerators_per_node)?)
    }

    /// Fails if the submitter or the system's name is empty.
    pub fn check_names(&self) -> Result<(), SystemError> {
        for (field, value) in [("submitter", &self.submitter), ("system_name", &self.system_name)] {
            if value.trim().is_empty() {
                return Err(SystemError::Nameless(field));
            }
        }
        Ok(())
    }

    /// The members of `systems/SYSTEM.json`, with the status in the form of the round.
    pub fn members(&self, ruleset: Ruleset) -> serde_json::Map<String, serde_json::Value> {
        let Ok(serde_json::Value::Object(mut members)) = serde_json::to_value(self) else {
            unreachable!("{TEXTS}, which are an object")
        };
        members.insert("status".into(), self.status.described(ruleset).into());
        members
    }

    fn parse(label: &str, text: &str) -> Result<Self, SystemError> {
        let typed: Result<Table, _> = toml::from_str(text);
        if let Ok(typed) = typed {
            let missing: Vec<_> =
                FIELDS.into_iter().filter(|field| !typed.contains_key(*field)).collect();
            if !missing.is_empty() {
                let (label, fields) = (label.to_owned(), missing.join(", "));
                return Err(SystemError::Missing { label, fields });
            }
        }
        let system: Self = toml::from_str(text).map_err(|error| SystemError::Text {
            label: label.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        for (field, value) in [
            ("number_of_nodes", &system.number_of_nodes),
            ("host_processors_per_node", &system.host_processors_per_node),
            ("accelerators_per_node", &system.accelerators_per_node),
        ] {
            if value.parse::<u32>().is_err() {
                let (label, value) = (label.to_owned(), value.clone());
                return Err(SystemError::Count { label, field, value });
            }
        }
        Ok(system)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> &'static str {
        BUILT_IN[0].1
    }

    #[test]
    fn every_built_in_description_is_valid_and_has_33_fields() {
        for (name, text) in BUILT_IN {
            let system = SystemDescription::parse(name, text).unwrap();
            let json = serde_json::to_value(&system).unwrap();
            assert!(json.as_object().unwrap().keys().eq(FIELDS), "{name}");
            assert_eq!(json["status"], system.status.sentence());
        }
    }

    #[test]
    fn a_file_takes_precedence_over_a_built_in_description() {
        let folder = tempfile::tempdir().unwrap();
        let find = |name| SystemDescription::find_in(folder.path(), name);
        assert_eq!(find("example").unwrap().unwrap().submitter, "unverified");
        assert_eq!(find("nobody-wrote-this").unwrap(), None);
        let text = example().replace("\"unverified\"", "\"Example Labs\"");
        fs::write(folder.path().join("example.toml"), text).unwrap();
        assert_eq!(find("example").unwrap().unwrap().submitter, "Example Labs");
    }

    #[test]
    fn unknown_and_missing_keys_and_invalid_counts_are_rejected() {
        let parse = |text: &str| SystemDescription::parse("x", text).unwrap_err().to_string();
        assert!(parse(&format!("{}colour = \"red\"\n", example())).contains("colour"));
        let without = example().replace("cooling", "# cooling").replace("hw_notes", "# hw_notes");
        assert!(parse(&without).contains("missing cooling, hw_notes;"));
        let words = example().replace("number_of_nodes = \"1\"", "number_of_nodes = \"one\"");
        assert!(parse(&words).contains("number_of_nodes ('one')"));
    }

    #[test]
    fn only_empty_fields_are_completed() {
        let written = SystemDescription::parse("x", example()).unwrap();
        let machine = SystemDescription {
            cooling: "air".into(),
            submitter: "the machine".into(),
            ..written.clone()
        };
        let both = written.completed_by(&machine);
        assert_eq!((&*both.cooling, &*both.submitter), ("air", "unverified"));
    }

    #[test]
    fn a_log_has_its_own_words_for_availability() {
        let system = SystemDescription::parse("x", example()).unwrap();
        assert_eq!(system.status.log_word(), "research");
        assert_eq!(system.status.described(Ruleset::V3_0_0), "research");
        assert!(system.status.described(Ruleset::V4_0_0).starts_with("Research, "));
        assert_eq!(Availability::named("Available cloud"), Some(Availability::Cloud));
    }
}
