//! Checks a log against MLPerf Training's rules, rulesets 0.7.0 to 6.1.0, all benchmarks.
//!
//! Two verdicts are separate. *What the reference accepts* agrees with the checker of
//! `mlperf_logging` on pass and fail, including its oddities. Where that checker ends in a
//! traceback, we reject the log with a reason. *What we report in addition* is stricter. Both
//! consist of findings with a code, a severity and a line number.
//!
//! Not here: folders, scores and system descriptions (see `submission`).

mod check;
mod code;
mod convergence;
mod faults;
mod finding;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod json;
mod parse;
mod report;
mod rules;
mod ruleset;
mod settings;
mod timing;
mod value;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::mllog::Key;

pub(crate) use code::codes;
pub use code::{Code, Severity};
pub use convergence::{Convergence, ConvergenceUnit};
pub use finding::Finding;
pub(crate) use json::python_json;
use parse::Entries;
pub use parse::{Entry, Flaw, FlawKind, Log, Record};
use report::LogChecker;
pub use report::{Report, Strictness};
pub use rules::{KeyRule, benchmarks, explain, latest_ruleset};
pub use ruleset::{Ruleset, UnknownRuleset};
pub use settings::{Seed, Settings};
pub use timing::{Course, Curve, CurvePoint, EpochSpan, RunTiming};
pub use value::Value;

/// Read buffer in bytes.
const BUFFER_BYTES: usize = 1 << 16;

/// Checks a log from any reader, line by line; memory use does not grow with the log.
pub fn check(log: impl BufRead, ruleset: Ruleset) -> io::Result<Report> {
    check_lines(log, ruleset, Path::new(""))
}

/// Checks a log in memory. Any bytes are valid input.
pub fn check_bytes(log: &[u8], ruleset: Ruleset) -> Report {
    check(log, ruleset).expect("bytes in memory can be read")
}

/// Reads and checks the log at `path`.
pub fn check_file(path: &Path, ruleset: Ruleset) -> io::Result<Report> {
    check_lines(open(path)?, ruleset, path)
}

fn open(path: &Path) -> io::Result<BufReader<File>> {
    // Opening a pipe would block until somebody writes to it.
    let kind = path.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::other("it is a pipe or a socket, not a file"));
    }
    Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))
}

fn check_lines(log: impl BufRead, ruleset: Ruleset, path: &Path) -> io::Result<Report> {
    let mut entries = Entries::new(log);
    let mut checker = LogChecker::new(ruleset);
    while let Some(entry) = entries.next()? {
        checker.read(entry);
    }
    if entries.is_utf16() {
        checker.utf16();
    }
    Ok(checker.finish(path))
}

/// The benchmark that the first `submission_benchmark` of a log names. Reads no further than that.
pub fn benchmark_of(path: &Path) -> io::Result<Option<String>> {
    let mut entries = Entries::new(open(path)?);
    while let Some(entry) = entries.next()? {
        if let Entry::Record(record) = entry
            && record.key == Key::SubmissionBenchmark.as_str()
        {
            return Ok(record.value.as_str().map(str::to_owned));
        }
    }
    Ok(None)
}

/// Reads and checks many logs on all processors. The reports come in the order of `logs`.
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
        // This thread works too.
        let others: Vec<_> = (1..num_threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let done = others.into_iter().map(|other| other.join().expect("no log is a panic"));
        own.into_iter().chain(done.flatten()).collect()
    });
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLOSED: &[u8] = include_bytes!("../../tests/logs/ok_closed_lars.txt");

    #[test]
    fn reports_come_in_the_order_of_the_logs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |number: usize| folder.path().join(number.to_string());
        for number in 0..40 {
            std::fs::write(path(number), "\n".repeat(number) + ":::MLLOG {").unwrap();
        }
        let logs: Vec<_> = (0..41).map(|number| (path(number), Ruleset::LATEST)).collect();
        let reports = check_files(&logs);
        for (number, report) in reports[..40].iter().enumerate() {
            let finding = &report.as_ref().unwrap().findings[0];
            assert_eq!(finding.line, Some(number + 1));
        }
        assert!(reports[40].is_err() && reports.len() == 41);
    }

    #[test]
    fn a_log_in_utf16_is_named_as_such() {
        let log: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(CLOSED.iter().flat_map(|&b| [b, 0])).collect();
        let report = check_bytes(&log, Ruleset::LATEST);
        assert_eq!(report.findings[0].code, Code::NoRecords);
        assert!(report.findings[0].message.contains("the file is UTF-16"));
    }

    #[test]
    fn of_very_many_findings_a_thousand_are_listed_and_the_rest_counted() {
        let log = ":::MLLOG x\n".repeat(5000);
        let report = check_bytes(log.as_bytes(), Ruleset::LATEST);
        let told = report.findings.iter().filter(|finding| finding.code == Code::BadJson);
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 1001);
        assert_eq!(told[1000].message, "4000 more lines are not records");
    }

    proptest! {
        #[test]
        fn no_bytes_within_a_log_cause_a_panic(
            place in any::<prop::sample::Index>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            ruleset in proptest::sample::select(&Ruleset::ALL[..]),
        ) {
            let mut log = CLOSED.to_vec();
            let at = place.index(log.len());
            let end = (at + bytes.len()).min(log.len());
            log.splice(at..end, bytes);
            check_bytes(&log, ruleset);
        }
    }
}
