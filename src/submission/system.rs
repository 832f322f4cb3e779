//! What a run was measured on: the 33 fields of MLPerf's system descriptions, kept as TOML in
//! `configs/systems/` and filled from the machine where nobody wrote them down.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::recipe::Division;

/// Where descriptions lie, from the current folder.
const FOLDER: &str = "configs/systems";

/// Descriptions that are compiled in: name and text.
const BUILT_IN: [(&str, &str); 1] =
    [("example", include_str!("../../configs/systems/example.toml"))];

/// A system description. The names are MLPerf's; a key that is none of them is an error, and so
/// is a missing one. Counts are digits in quotes, because that is what the checkers read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemDescription {
    /// Who submits; `submission_org` of the log.
    pub submitter: String,
    /// `open` or `closed`.
    pub division: Division,
    /// Whether others can have such a system.
    pub status: Availability,
    /// The system; `submission_platform` of the log.
    pub system_name: String,
    /// Machines.
    pub number_of_nodes: String,
    /// Processors of a machine.
    pub host_processors_per_node: String,
    /// Their model.
    pub host_processor_model_name: String,
    /// Cores of a processor.
    pub host_processor_core_count: String,
    /// Threads of a processor.
    pub host_processor_vcpu_count: String,
    /// Clock rate.
    pub host_processor_frequency: String,
    /// Caches.
    pub host_processor_caches: String,
    /// How processors are connected.
    pub host_processor_interconnect: String,
    /// Memory of a machine.
    pub host_memory_capacity: String,
    /// Kind of disks.
    pub host_storage_type: String,
    /// Size of disks.
    pub host_storage_capacity: String,
    /// How machines are connected.
    pub host_networking: String,
    /// In which shape.
    pub host_networking_topology: String,
    /// Memory modules.
    pub host_memory_configuration: String,
    /// GPUs of a machine, in digits.
    pub accelerators_per_node: String,
    /// Their model.
    pub accelerator_model_name: String,
    /// How GPUs reach the processor.
    pub accelerator_host_interconnect: String,
    /// Clock rate.
    pub accelerator_frequency: String,
    /// Caches and registers.
    #[serde(rename = "accelerator_on-chip_memories")]
    pub accelerator_on_chip_memories: String,
    /// Kind of memory.
    pub accelerator_memory_configuration: String,
    /// Memory of a GPU.
    pub accelerator_memory_capacity: String,
    /// How GPUs are connected.
    pub accelerator_interconnect: String,
    /// In which shape.
    pub accelerator_interconnect_topology: String,
    /// Air, water.
    pub cooling: String,
    /// What else there is to say of the hardware.
    pub hw_notes: String,
    /// What trains.
    pub framework: String,
    /// Libraries and drivers.
    pub other_software_stack: String,
    /// Operating system.
    pub operating_system: String,
    /// What else there is to say of the software.
    pub sw_notes: String,
}

/// Whether others can have such a system; the strings are those of ruleset 4.0.0.
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
    /// The file is there and cannot be read.
    #[error("cannot read the system description {} ({source})", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is no description.
    #[error("{label}: {message}")]
    Text {
        /// The file, or the name of a built-in description.
        label: String,
        /// What is wrong with it.
        message: String,
    },
    /// A count is no number.
    #[error("{label}: {field} ('{value}') must be a whole number in quotes, such as \"8\"")]
    Count {
        /// The file, or the name of a built-in description.
        label: String,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
}

impl Availability {
    /// The word for it in a log's `submission_status`, which knows other words.
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
    /// The description called `name`: `./configs/systems/NAME.toml`, else compiled in, else none.
    pub fn find(name: &str) -> Result<Option<Self>, SystemError> {
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

    fn parse(label: &str, text: &str) -> Result<Self, SystemError> {
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
    fn every_built_in_description_can_be_read_and_has_33_fields() {
        for (name, text) in BUILT_IN {
            let system = SystemDescription::parse(name, text).unwrap();
            let json = serde_json::to_value(&system).unwrap();
            assert_eq!(json.as_object().unwrap().len(), 33, "{name}");
        }
    }

    #[test]
    fn a_file_comes_before_what_is_compiled_in() {
        let folder = tempfile::tempdir().unwrap();
        let find = |name| SystemDescription::find_in(folder.path(), name);
        assert_eq!(find("example").unwrap().unwrap().submitter, "unofficial");
        assert_eq!(find("nobody-wrote-this").unwrap(), None);
        let text = example().replace("\"unofficial\"", "\"Example Labs\"");
        fs::write(folder.path().join("example.toml"), text).unwrap();
        assert_eq!(find("example").unwrap().unwrap().submitter, "Example Labs");
    }

    #[test]
    fn unknown_and_missing_keys_and_counts_that_are_none_are_refused() {
        let parse = |text: &str| SystemDescription::parse("x", text).unwrap_err().to_string();
        assert!(parse(&format!("{}colour = \"red\"\n", example())).contains("colour"));
        let without = example().replace("cooling", "# cooling");
        assert!(parse(&without).contains("cooling"));
        let words = example().replace("number_of_nodes = \"1\"", "number_of_nodes = \"one\"");
        assert!(parse(&words).contains("number_of_nodes ('one')"));
    }

    #[test]
    fn a_log_has_its_own_words_for_availability() {
        let system = SystemDescription::parse("x", example()).unwrap();
        assert_eq!(system.status.log_word(), "research");
    }
}
