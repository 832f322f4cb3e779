//! What the doctor finds, and how it is shown.

use serde::Serialize;

use crate::console::{Paint, painted};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// A run works, but slower or not as MLPerf wants it.
    Warn,
    /// A run cannot start.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) topic: &'static str,
    /// How bad it is.
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    /// What it costs if nothing is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cost: Option<String>,
}

impl Finding {
    pub(super) fn ok(topic: &'static str, found: impl Into<String>) -> Self {
        Self { topic, verdict: Verdict::Ok, found: found.into(), fix: None, cost: None }
    }

    pub(super) fn warn(
        topic: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let fix = Some(fix.into());
        Self { verdict: Verdict::Warn, fix, ..Self::ok(topic, found) }
    }

    pub(super) fn fail(
        topic: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(topic, found, fix) }
    }

    pub(super) fn costing(self, cost: impl Into<String>) -> Self {
        Self { cost: Some(cost.into()), ..self }
    }

    /// One line, and a second one with the fix and the cost.
    pub(super) fn lines(&self) -> String {
        let (word, paint) = match self.verdict {
            Verdict::Ok => ("ok  ", Paint::Good),
            Verdict::Warn => ("warn", Paint::Doubtful),
            Verdict::Fail => ("fail", Paint::Bad),
        };
        let line = format!("{}  {:<9} {}", painted(word, paint), self.topic, self.found);
        let cost = self.cost.as_ref().map(|cost| format!("costs {cost}"));
        let advice: Vec<_> = [self.fix.clone(), cost].into_iter().flatten().collect();
        if advice.is_empty() {
            return line;
        }
        format!("{line}\n                {}", advice.join("; "))
    }
}
