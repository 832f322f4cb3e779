//! The option `--ruleset`.

use std::{path::Path, str::FromStr};

use crate::{
    compliance::{Ruleset, UnknownRuleset},
    submission::{LayoutError, RulesetGuess, guess_ruleset},
};

/// Which ruleset to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesetChoice {
    /// The one that the tree around a log names, otherwise the latest.
    Auto,
    /// This one.
    Named(Ruleset),
}

impl FromStr for RulesetChoice {
    type Err = UnknownRuleset;

    fn from_str(name: &str) -> Result<Self, UnknownRuleset> {
        if name == "auto" { Ok(Self::Auto) } else { name.parse().map(Self::Named) }
    }
}

impl RulesetChoice {
    /// The ruleset for `log`.
    pub(super) fn of(self, log: &Path) -> Result<RulesetGuess, LayoutError> {
        match self {
            Self::Auto => guess_ruleset(log),
            Self::Named(ruleset) => Ok(RulesetGuess { ruleset, why: "--ruleset".into() }),
        }
    }
}
