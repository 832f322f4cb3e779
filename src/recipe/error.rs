//! Errors of recipes. A message names the place, the key and the value, and ends with the fix.

use std::{fmt, io, path::PathBuf};

use crate::problems::Problems;

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// No file and no built-in recipe has this name.
    #[error("no recipe '{name}': no such file, nothing in ./configs, not built in; {cure}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The closest name and all known ones.
        cure: String,
    },
    /// The file is there and cannot be read.
    #[error("cannot read recipe {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is no TOML, a key is unknown, or a value has the wrong type.
    #[error("{place}: {message}")]
    Text {
        /// Where it was typed.
        place: Place,
        /// What is wrong with it.
        message: String,
    },
    /// A recipe extends itself, directly or through others.
    #[error("recipes extend each other in a circle: {}; remove one `extends`", chain.join(" -> "))]
    Cycle {
        /// The names, the first one again at the end.
        chain: Vec<String>,
    },
    /// The values are readable, but invalid or inconsistent.
    #[error("invalid recipe: {}", listed(.0))]
    Invalid(Vec<String>),
}

impl RecipeError {
    /// An error that lists `problems`, if there are any.
    pub(super) fn unless_sound(problems: Problems) -> Result<(), Self> {
        let problems = problems.into_vec();
        if problems.is_empty() { Ok(()) } else { Err(Self::Invalid(problems)) }
    }
}

/// Where something was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, the name of a built-in recipe, or an override as it was typed.
    pub label: String,
    /// Line of the file, from 1.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.label),
            None => f.write_str(&self.label),
        }
    }
}

fn listed(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => format!("{} problems\n  {}", many.len(), many.join("\n  ")),
    }
}
