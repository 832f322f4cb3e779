//! The versions of the rules.

use std::{fmt, str::FromStr};

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

    /// The last version, and the default.
    pub const LATEST: Self = Self::V4_0_0;

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
        }
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Versions of the rules since the benchmark was retired.
const WITHOUT_RESNET: [&str; 5] = ["4.1.0", "5.0.0", "5.1.0", "6.0.0", "6.1.0"];

/// A name that is not a ruleset with ResNet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRuleset(pub String);

impl std::error::Error for UnknownRuleset {}

impl fmt::Display for UnknownRuleset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        if WITHOUT_RESNET.contains(&name.as_str()) {
            write!(out, "ruleset {name} has no ResNet: the benchmark ended with 4.0.0")?;
        } else {
            write!(out, "unknown ruleset \"{name}\"")?;
        }
        write!(out, "; use one of {}", Ruleset::ALL.map(Ruleset::as_str).join(", "))
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
        let later = "4.1.0".parse::<Ruleset>().unwrap_err().to_string();
        assert!(later.starts_with("ruleset 4.1.0 has no ResNet: "), "{later}");
        let other = "v2".parse::<Ruleset>().unwrap_err().to_string();
        assert!(other.starts_with("unknown ruleset \"v2\"; use one of 0.7.0, "), "{other}");
    }
}
