//! The versions of the rules.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// A version of MLPerf Training's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Ruleset {
    /// Round v0.7.
    #[serde(rename = "0.7.0")]
    V0_7_0,
    /// Round v1.0.
    #[serde(rename = "1.0.0")]
    V1_0_0,
    /// Round v1.1.
    #[serde(rename = "1.1.0")]
    V1_1_0,
    /// Round v2.0.
    #[serde(rename = "2.0.0")]
    V2_0_0,
    /// Round v2.1.
    #[serde(rename = "2.1.0")]
    V2_1_0,
    /// Round v3.0.
    #[serde(rename = "3.0.0")]
    V3_0_0,
    /// Round v3.1.
    #[serde(rename = "3.1.0")]
    V3_1_0,
    /// Round v4.0, the last one with ResNet.
    #[serde(rename = "4.0.0")]
    V4_0_0,
    /// Round v4.1.
    #[serde(rename = "4.1.0")]
    V4_1_0,
    /// Round v5.0.
    #[serde(rename = "5.0.0")]
    V5_0_0,
    /// Round v5.1.
    #[serde(rename = "5.1.0")]
    V5_1_0,
    /// Round v6.0.
    #[serde(rename = "6.0.0")]
    V6_0_0,
    /// Round v6.1.
    #[serde(rename = "6.1.0")]
    V6_1_0,
}

impl Ruleset {
    /// Every version, oldest first.
    pub const ALL: [Self; 13] = [
        Self::V0_7_0,
        Self::V1_0_0,
        Self::V1_1_0,
        Self::V2_0_0,
        Self::V2_1_0,
        Self::V3_0_0,
        Self::V3_1_0,
        Self::V4_0_0,
        Self::V4_1_0,
        Self::V5_0_0,
        Self::V5_1_0,
        Self::V6_0_0,
        Self::V6_1_0,
    ];

    /// The last version, and the default.
    pub const LATEST: Self = Self::V6_1_0;

    /// The last version with `ResNet`, for which this program writes logs.
    pub const LAST_WITH_RESNET: Self = Self::V4_0_0;

    /// The name that the reference tools use.
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
            Self::V4_1_0 => "4.1.0",
            Self::V5_0_0 => "5.0.0",
            Self::V5_1_0 => "5.1.0",
            Self::V6_0_0 => "6.0.0",
            Self::V6_1_0 => "6.1.0",
        }
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A name that is not a ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRuleset(pub String);

impl std::error::Error for UnknownRuleset {}

impl fmt::Display for UnknownRuleset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Ruleset::ALL.map(Ruleset::as_str).join(", ");
        write!(out, "unknown ruleset {:?}; use one of {known}", self.0)
    }
}

impl FromStr for Ruleset {
    type Err = UnknownRuleset;

    fn from_str(name: &str) -> Result<Self, UnknownRuleset> {
        let found = Self::ALL.into_iter().find(|ruleset| ruleset.as_str() == name);
        found.ok_or_else(|| UnknownRuleset(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_to_their_ruleset() {
        for ruleset in Ruleset::ALL {
            assert_eq!(ruleset.to_string().parse(), Ok(ruleset));
        }
        let other = "v2".parse::<Ruleset>().unwrap_err().to_string();
        assert!(other.starts_with("unknown ruleset \"v2\"; use one of 0.7.0, "), "{other}");
    }
}
