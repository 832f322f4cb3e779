//! The versions of the rules.

use std::fmt;
use std::str::FromStr;

/// A version of MLPerf Training's rules that has the ResNet benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ruleset {
    /// Round v0.7.
    V0_7_0,
    /// Round v1.0.
    V1_0_0,
    /// Round v1.1.
    V1_1_0,
    /// Round v2.0.
    V2_0_0,
    /// Round v2.1.
    V2_1_0,
    /// Round v3.0.
    V3_0_0,
    /// Round v3.1.
    V3_1_0,
    /// Round v4.0, the last one with ResNet.
    V4_0_0,
}

impl Ruleset {
    /// Every version, oldest first.
    pub const ALL: [Self; 8] = [
        Self::V0_7_0,
        Self::V1_0_0,
        Self::V1_1_0,
        Self::V2_0_0,
        Self::V2_1_0,
        Self::V3_0_0,
        Self::V3_1_0,
        Self::V4_0_0,
    ];

    /// The last version, which holds where nothing else is said.
    pub const LATEST: Self = Self::V4_0_0;

    /// As the reference tools name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_7_0 => "0.7.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
            Self::V2_0_0 => "2.0.0",
            Self::V2_1_0 => "2.1.0",
            Self::V3_0_0 => "3.0.0",
            Self::V3_1_0 => "3.1.0",
            Self::V4_0_0 => "4.0.0",
        }
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A name that no ruleset has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown ruleset \"{0}\"; ResNet is in the rulesets 0.7.0 to 4.0.0: name one of {names}",
        names = Ruleset::ALL.map(Ruleset::as_str).join(", "))]
pub struct UnknownRuleset(pub String);

impl FromStr for Ruleset {
    type Err = UnknownRuleset;

    fn from_str(name: &str) -> Result<Self, UnknownRuleset> {
        let found = Self::ALL.into_iter().find(|ruleset| ruleset.as_str() == name);
        found.ok_or_else(|| UnknownRuleset(name.into()))
    }
}

/// The two ways to take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// The reference's model and hyperparameters.
    Closed,
    /// Free methods.
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_ruleset() {
        for ruleset in Ruleset::ALL {
            assert_eq!(ruleset.to_string().parse(), Ok(ruleset));
        }
        let error = "4.1.0".parse::<Ruleset>().unwrap_err();
        assert!(error.to_string().starts_with("unknown ruleset \"4.1.0\"; "), "{error}");
    }
}
