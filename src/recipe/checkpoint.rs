//! `[train.checkpoint]`: when a run saves the state from which it can be resumed.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    optim::{RunLength, Time, TimeError},
    problems::Problems,
};

/// `[train.checkpoint]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Time between checkpoints.
    pub interval: CheckpointInterval,
    /// Checkpoints to keep, the newest ones.
    pub keep: usize,
}

/// Time between checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into, rename_all = "snake_case")]
pub enum CheckpointInterval {
    /// `"off"`: none.
    Off,
    /// `"eval"`: one after each evaluation.
    #[schemars(rename = "eval")]
    Evaluation,
    /// `"5ep"`, `"500ba"`, `"0.1dur"`, `"10000sp"`: one after so much training.
    #[schemars(untagged)]
    Training(Time),
    /// `"10min"`: one after so many minutes.
    #[schemars(untagged)]
    Minutes(#[schemars(with = "String", regex(pattern = r"^([0-9]*\.)?[0-9]+min$"))] f64),
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { interval: CheckpointInterval::Evaluation, keep: 2 }
    }
}

impl CheckpointConfig {
    /// Requires an interval and a number above 0.
    pub fn check(&self, problems: &mut Problems) {
        match self.interval {
            CheckpointInterval::Training(time) => {
                time.check_positive("train.checkpoint.interval", problems);
            }
            CheckpointInterval::Minutes(minutes) if minutes <= 0.0 => {
                problems.add("train.checkpoint.interval must be above 0 minutes");
            }
            _ => {}
        }
        problems.one_or_more("train.checkpoint.keep", self.keep);
    }
}

impl CheckpointInterval {
    /// Steps between checkpoints, if training sets the interval.
    pub fn steps(self, run_length: &RunLength) -> Option<usize> {
        match self {
            Self::Training(time) => Some(time.to_steps(run_length).max(1)),
            Self::Off | Self::Evaluation | Self::Minutes(_) => None,
        }
    }
}

/// A text that is not a [`CheckpointInterval`].
#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}' is no interval of checkpoints; write \"eval\", \"off\", minutes as \"10min\", epochs as \
     \"5ep\" or steps as \"500ba\""
)]
pub struct IntervalError(String);

impl FromStr for CheckpointInterval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        let no = || IntervalError(text.to_owned());
        match text {
            "off" => return Ok(Self::Off),
            "eval" => return Ok(Self::Evaluation),
            _ => {}
        }
        if let Some(minutes) = text.strip_suffix("min") {
            let minutes = minutes.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
            return minutes.map(Self::Minutes).ok_or_else(no);
        }
        text.parse().map(Self::Training).map_err(|_: TimeError| no())
    }
}

impl TryFrom<String> for CheckpointInterval {
    type Error = IntervalError;

    fn try_from(text: String) -> Result<Self, IntervalError> {
        text.parse()
    }
}

impl From<CheckpointInterval> for String {
    fn from(interval: CheckpointInterval) -> Self {
        interval.to_string()
    }
}

impl fmt::Display for CheckpointInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Evaluation => f.write_str("eval"),
            Self::Training(time) => write!(f, "{time}"),
            Self::Minutes(minutes) => write!(f, "{minutes}min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_written_alike() {
        for text in ["off", "eval", "5ep", "500ba", "0.25dur", "10min", "0.5min"] {
            assert_eq!(text.parse::<CheckpointInterval>().unwrap().to_string(), text);
        }
        for text in ["", "min", "5", "-1min", "daily"] {
            let error = text.parse::<CheckpointInterval>().unwrap_err().to_string();
            assert!(error.contains("\"10min\""), "{error}");
        }
    }

    #[test]
    fn steps_are_at_least_one() {
        let run_length = RunLength { steps_per_epoch: 10, num_epochs: 3, batch_size: 4 };
        let steps = |text: &str| text.parse::<CheckpointInterval>().unwrap().steps(&run_length);
        assert_eq!((steps("2ep"), steps("0.01ep"), steps("eval")), (Some(20), Some(1), None));
    }
}
