//! Words of MLPerf Training that several modules share.

use serde::{Deserialize, Serialize};

/// Divisions of MLPerf Training (training rules, section "Divisions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Division {
    /// The reference's model, optimizer and hyperparameters.
    Closed,
    /// Free methods.
    Open,
}

impl Division {
    /// The word in logs and descriptions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

/// How a run ended: `metadata.status` of `run_stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// The target was reached.
    Success,
    /// The run ended without it: epochs used up, or a signal.
    Aborted,
}

impl RunStatus {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Aborted => "aborted",
        }
    }
}
