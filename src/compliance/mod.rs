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
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

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

/// Reads and judges many logs, on all processors at once; answers in the order of `logs`.
pub fn check_files(logs: &[(PathBuf, Ruleset)]) -> Vec<io::Result<Report>> {
    let num_threads = thread::available_parallelism().map_or(1, usize::from).min(logs.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((path, ruleset)) = logs.get(index) else { return done };
            done.push((index, check_file(path, *ruleset)));
        }
    };
    let mut reports: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..num_threads).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("no log is a panic"));
        done.flatten().collect()
    });
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}
