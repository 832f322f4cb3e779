//! Words of MLPerf Training that several modules share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sentence under every score that `MLCommons` has not reviewed (MLPerf Results Messaging
/// Guidelines, sections 1 and 3.2).
pub const UNVERIFIED: &str = "Result not verified by MLCommons Association.";

/// The footnote of a comparison of unverified with verified results (guidelines, section 5).
pub const COMPARED: &str = "Unverified results have not been through an MLPerf review and may use \
                            measurement methodologies and/or workload implementations that are \
                            inconsistent with the MLPerf specification for verified results.";

/// The legend of the trademark (guidelines, section 11).
pub const LEGEND: &str = "The MLPerf name and logo are registered and unregistered trademarks of \
                          MLCommons Association in the United States and other countries. All \
                          rights reserved. Unauthorized use strictly prohibited. See \
                          www.mlcommons.org for more information.";

/// Divisions of MLPerf Training (training rules, section "Divisions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
