//! Entry point for the fuzz target `rules` (`tests/fuzz`) into the reader of rule files. Compiled only
//! with the feature `fuzz`, which no shipped program enables.

use super::Ruleset;
use super::rules::statements;

/// Reads `text` as a rule file. Returns what its rules say under every ruleset; an error says why it
/// is no rule file.
pub fn rule_file(text: &str) -> Result<Vec<String>, String> {
    let of = |ruleset| statements(text, ruleset);
    Ruleset::ALL.into_iter().map(of).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
}
