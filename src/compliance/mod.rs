//! Judges a log by MLPerf Training's rules for ResNet, rulesets 0.7.0 to 4.0.0.
//!
//! Two verdicts are kept apart. *What the reference accepts* agrees with the checker of
//! `mlperf_logging` in pass and fail, oddities included; where that one ends in a traceback, the
//! log is rejected with a reason. *What we find fault with* is stricter and our own. Both are
//! findings with a code, a severity, and the line of the file.
//!
//! Known to differ: logs of other benchmarks are rejected, because only ResNet's rules are here.
//!
//! Absent on purpose: folders, scores and system descriptions (`submission`), and other rulesets.

mod check;
mod code;
mod faults;
mod json;
mod parse;
mod report;
mod rules;
mod ruleset;
mod state;
mod timing;
mod value;

use std::io;
use std::path::Path;

pub use code::{Code, Severity};
pub use parse::{Flaw, FlawKind, Log, Record};
pub use report::{Finding, Report, Strictness};
pub use ruleset::{Division, Ruleset, UnknownRuleset};
pub use timing::{Curve, CurvePoint, RunTiming};
pub use value::Value;

/// Reads and judges the log at `path`.
pub fn check_file(path: &Path, ruleset: Ruleset) -> io::Result<Report> {
    Ok(Report::of(path, &Log::read(path)?, ruleset))
}
