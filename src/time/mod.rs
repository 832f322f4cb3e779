//! Times in training, as Composer writes them (`"8ep"`, `"20ba"`, `"0.4dur"`, `"1000sp"`), and values
//! that change with them.

mod by_epoch;

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use by_epoch::{ByEpoch, Ramp, Span};

use crate::problems::Problems;

/// The texts that [`Time`] reads, as a regular expression.
const PATTERN: &str = r"^(([0-9]*\.)?[0-9]+ep|(0|0?\.[0-9]+|1(\.0+)?)dur|[0-9]+(ba|sp))$";

/// A length of training: epochs as `"8ep"`, optimizer steps as `"20ba"`, samples over all ranks as
/// `"1000sp"`, or a fraction of the run as `"0.4dur"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = PATTERN))]
pub enum Time {
    /// `ep`: epochs.
    Epochs(f64),
    /// `ba`: optimizer steps.
    Steps(u64),
    /// `dur`: fraction of the whole run, 0 to 1.
    Fraction(f64),
    /// `sp`: training samples, over all ranks.
    Samples(u64),
}

/// The length of a run, which converts a [`Time`] to steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength {
    /// Steps in an epoch.
    pub steps_per_epoch: usize,
    /// Epochs in the run.
    pub num_epochs: usize,
    /// Samples in a step, over all ranks.
    pub batch_size: usize,
}

impl RunLength {
    /// Steps in the run.
    pub fn total_steps(&self) -> usize {
        self.steps_per_epoch * self.num_epochs
    }
}

impl Time {
    /// The length in optimizer steps, rounded down.
    pub fn to_steps(self, run_length: &RunLength) -> usize {
        match self {
            Self::Epochs(n) => (n * run_length.steps_per_epoch as f64) as usize,
            Self::Steps(n) => n as usize,
            Self::Fraction(f) => (f * run_length.total_steps() as f64) as usize,
            Self::Samples(n) => n as usize / run_length.batch_size,
        }
    }

    /// The length times `ratio`, in whole steps. A fraction of the run is scaled with the run already.
    #[must_use]
    pub fn scaled(self, ratio: f64, run_length: &RunLength) -> Self {
        match self {
            Self::Fraction(_) => self,
            length => Self::Steps((length.to_steps(run_length) as f64 * ratio) as u64),
        }
    }

    /// Requires a finite number from 0, as the parser does.
    pub fn check(self, key: &str, problems: &mut Problems) {
        if let Self::Epochs(n) | Self::Fraction(n) = self {
            problems.at_least_zero(key, n);
        }
    }

    /// Whether this is no time.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Steps(0) | Self::Samples(0) | Self::Epochs(0.0) | Self::Fraction(0.0))
    }

    /// Requires a length above 0.
    pub fn check_positive(self, key: &str, problems: &mut Problems) {
        self.check(key, problems);
        if self.is_zero() {
            problems.add(format!("{key} ({self}) must be above 0"));
        }
    }
}

/// A text that is not a [`Time`].
#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}' is no length of time; write epochs as \"8ep\", steps as \"20ba\", a fraction of the run as \"0.4dur\" or samples as \"1000sp\""
)]
pub struct TimeError(String);

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let no = || TimeError(text.to_owned());
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(no)?;
        let (number, unit) = text.split_at(unit_at);
        let real = || number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        match unit {
            "ep" => real().map(Self::Epochs),
            "ba" => number.parse().ok().map(Self::Steps),
            "dur" => real().filter(|f| *f <= 1.0).map(Self::Fraction),
            "sp" => number.parse().ok().map(Self::Samples),
            _ => None,
        }
        .ok_or_else(no)
    }
}

impl TryFrom<String> for Time {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs(n) => write!(f, "{n}ep"),
            Self::Steps(n) => write!(f, "{n}ba"),
            Self::Fraction(n) => write!(f, "{n}dur"),
            Self::Samples(n) => write!(f, "{n}sp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_turns_into_steps_and_back_into_text() {
        let run_length = RunLength { steps_per_epoch: 625, num_epochs: 28, batch_size: 2048 };
        for (text, steps) in [("8ep", 5000), ("20ba", 20), ("0.5dur", 8750), ("4096sp", 2)] {
            let time: Time = text.parse().unwrap();
            assert_eq!(time.to_steps(&run_length), steps, "{text}");
            assert_eq!(time.to_string(), text);
        }
    }

    #[test]
    fn parts_of_a_step_are_cut_off() {
        let run_length = RunLength { steps_per_epoch: 5, num_epochs: 3, batch_size: 16 };
        for (text, steps) in [("0.5ep", 2), ("31sp", 1), ("15sp", 0), ("0.99dur", 14), ("0ba", 0)] {
            assert_eq!(text.parse::<Time>().unwrap().to_steps(&run_length), steps, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_time_survives_its_text(epochs in 0.0..1e12, fraction in 0.0..=1.0, count in 0_u64..) {
            for time in [
                Time::Epochs(epochs),
                Time::Fraction(fraction),
                Time::Steps(count),
                Time::Samples(count),
            ] {
                proptest::prop_assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
            }
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_cure() {
        for text in ["", "8", "ep", "8 ep", "-1ep", "1.5ba", "1.1dur", "8min", "infep"] {
            let error = text.parse::<Time>().unwrap_err().to_string();
            assert!(error.contains("8ep"), "{text}: {error}");
        }
    }
}
