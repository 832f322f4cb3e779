//! The score of a system: the olympic mean of its runs' minutes, scaled as the reference
//! convergence points require. Scoring is pure: an existing `scaling.json` is not read, and only
//! [`SystemScore::write_scaling`] writes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::benchmark::{num_dropped, num_runs};
use super::layout::{LayoutError, SystemResults};
use super::rcp::{RcpCheck, RcpObstacle, RcpTable, RunConvergence};
use crate::atomic_file;
use crate::compliance::{Code, ConvergenceUnit, Finding, Report, Ruleset, RunTiming, Severity};

/// The score of one system.
#[derive(Clone, Debug)]
pub struct SystemScore {
    /// The location of its logs.
    pub results: SystemResults,
    /// The submitter in the system's description, otherwise the folder's name.
    pub submitter: Option<String>,
    /// `open` or `closed`, from the description, otherwise from the logs.
    pub division: Option<String>,
    /// The benchmark: that of the folder, otherwise that of the logs, otherwise `resnet`.
    pub benchmark: String,
    /// The ruleset.
    pub ruleset: Ruleset,
    /// Its runs, by number.
    pub runs: Vec<RunScore>,
    /// Mean minutes without the fastest and the slowest runs; `None` if too many runs failed.
    pub olympic_minutes: Option<f64>,
    /// The convergence test; `None` where the rules have none.
    pub rcp: Option<Result<RcpCheck, RcpObstacle>>,
    /// The score: the olympic mean times the factor of the convergence test.
    pub scaled_minutes: Option<f64>,
    /// What a reviewer would ask about.
    pub problems: Vec<String>,
}

/// One run of a system.
#[derive(Clone, Debug, PartialEq)]
pub struct RunScore {
    /// The log.
    pub file: PathBuf,
    /// Minutes from `run_start` to `run_stop`.
    pub minutes: Option<f64>,
    /// How the time was spent.
    pub timing: Option<RunTiming>,
    /// Whether the reference checker accepts the log (without `--werror`), and the run is not a resumed
    /// one; only then does it count.
    pub compliant: bool,
    /// Status of `run_stop`.
    pub status: Option<String>,
    /// How long it took to the target, in the benchmark's unit.
    pub length: Option<f64>,
    /// The last evaluation's accuracy, loss or other metric.
    pub accuracy: Option<f64>,
    /// `global_batch_size`.
    pub batch_size: Option<f64>,
    /// The first of its errors.
    pub error: Option<String>,
}

impl RunScore {
    /// The score's inputs from the report on a log.
    pub fn of(report: &Report) -> Self {
        let last = report.curve.last();
        let is_none = |it: &&Finding| matches!(it.code, Code::Resumed | Code::Pretrained);
        let no_result = report.findings.iter().find(is_none);
        let error = report.findings.iter().find(|it| it.severity() == Severity::Error);
        let error = no_result.or(error);
        Self {
            file: report.path.clone(),
            minutes: report.timing.map(|timing| timing.minutes),
            timing: report.timing,
            compliant: report.reference_accepts() && no_result.is_none(),
            status: report.status.clone(),
            length: report.convergence.at,
            accuracy: last.map(|point| point.accuracy),
            batch_size: report.batch_size,
            error: error.map(|finding| format!("{}: {}", finding.code, finding.message)),
        }
    }

    /// Its minutes, if the run counts.
    pub(super) fn counted(&self) -> Option<f64> {
        self.minutes.filter(|_| self.compliant)
    }

    /// Python's `round(length, 3)`, only for runs that claim success.
    pub(super) fn convergence(&self) -> RunConvergence {
        let length = self.length.filter(|_| self.status.as_deref() == Some("success"));
        RunConvergence {
            batch_size: self.batch_size,
            length: length.map(|length| (length * 1e3).round() / 1e3),
        }
    }

    fn name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Mean without the `num_dropped` fastest and slowest. As many runs may have failed, and they count as
/// the slowest. `None` if more failed or no value is left.
pub fn olympic_mean(values: &[f64], num_failed: usize, num_dropped: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let end = sorted.len().checked_sub(num_dropped.checked_sub(num_failed)?)?;
    let counted = sorted.get(num_dropped..end).filter(|counted| !counted.is_empty())?;
    Some(counted.iter().sum::<f64>() / counted.len() as f64)
}

impl SystemScore {
    /// Scores `results`, given one report per log in their order.
    pub fn of(
        results: &SystemResults,
        ruleset: Ruleset,
        reports: &[Report],
    ) -> Result<Self, LayoutError> {
        let description = results.read_description()?;
        let logged = reports.iter().find_map(|report| report.division.as_deref());
        Ok(Self::described(results, ruleset, description.as_ref(), (reports, logged)))
    }

    /// Scores `results` with the members of the system's description.
    pub(super) fn described(
        results: &SystemResults,
        ruleset: Ruleset,
        description: Option<&Map<String, Value>>,
        (reports, logged_division): (&[Report], Option<&str>),
    ) -> Self {
        let member = |name: &str| description?.get(name)?.as_str().map(str::to_owned);
        let mut problems = Vec::new();
        let described = member("division").map(|it| it.to_lowercase());
        let known = described.filter(|it| matches!(it.as_str(), "open" | "closed"));
        let division = known.or_else(|| logged_division.map(str::to_owned));
        if let (Some(division), Some(logged)) = (&division, logged_division)
            && division != logged
        {
            problems
                .push(format!("the description's division is {division}, the log's is {logged}"));
        }
        let runs: Vec<_> = reports.iter().map(RunScore::of).collect();
        let logged = reports.iter().find_map(|report| report.benchmark.as_deref());
        let benchmark = results.benchmark.as_deref().or(logged).unwrap_or("resnet");
        let closed = division.as_deref() == Some("closed");
        let rcp = closed.then(|| convergence(benchmark, ruleset, reports)).flatten();
        problems.extend(problems_of_runs(&runs, benchmark));
        problems.extend(match &rcp {
            Some(Err(obstacle)) => Some(format!("no convergence test: {obstacle}")),
            Some(Ok(check)) if !check.passed => Some(format!("convergence {}", check.result())),
            _ => None,
        });
        let minutes: Vec<f64> = runs.iter().filter_map(RunScore::counted).collect();
        let num_failed = runs.len() - minutes.len();
        let olympic_minutes = olympic_mean(&minutes, num_failed, num_dropped(benchmark));
        let scaling = rcp.as_ref().and_then(|rcp| rcp.as_ref().ok()).map_or(1.0, |it| it.scaling);
        Self {
            results: results.clone(),
            submitter: member("submitter").or_else(|| results.submitter.clone()),
            division,
            benchmark: benchmark.into(),
            ruleset,
            scaled_minutes: olympic_minutes.map(|minutes| minutes * scaling),
            olympic_minutes,
            rcp,
            runs,
            problems,
        }
    }

    /// The unit of the runs' lengths.
    pub fn unit(&self) -> ConvergenceUnit {
        ConvergenceUnit::of(&self.benchmark, self.ruleset)
    }

    /// The factor that the convergence test requires.
    pub fn scaling(&self) -> f64 {
        self.rcp.as_ref().and_then(|rcp| rcp.as_ref().ok()).map_or(1.0, |check| check.scaling)
    }

    /// Whether the score is valid under the rules: as many runs as the benchmark requires, few of
    /// which failed, and a passed convergence test.
    pub fn is_valid(&self) -> bool {
        let converges = self.rcp.as_ref().is_none_or(|rcp| matches!(rcp, Ok(it) if it.passed));
        self.olympic_minutes.is_some() && self.runs.len() == num_runs(&self.benchmark) && converges
    }

    /// Writes the factor to `scaling.json` in the submission, where the reference summarizer looks
    /// for it, or removes an outdated file. Returns the path if a file was written.
    pub fn write_scaling(&self) -> io::Result<Option<PathBuf>> {
        let path = self.results.folder.join("scaling.json");
        if self.scaling() > 1.0 {
            let text = format!("{{\"scaling_factor\": {:?}}}", self.scaling());
            atomic_file::write(&path, text.as_bytes())?;
            return Ok(Some(path));
        }
        remove_if_there(&path)?;
        Ok(None)
    }
}

/// The convergence test of `benchmark`, if the round has one. As in the reference, the logs' own
/// benchmark determines the points.
pub(super) fn convergence(
    benchmark: &str,
    ruleset: Ruleset,
    reports: &[Report],
) -> Option<Result<RcpCheck, RcpObstacle>> {
    let mut logged = reports.iter().filter_map(|report| report.benchmark.as_deref());
    let first = logged.next().unwrap_or(benchmark);
    if let Some(other) = logged.find(|other| *other != first) {
        return Some(Err(RcpObstacle::BenchmarksDiffer(first.into(), other.into())));
    }
    let runs: Vec<_> = reports.iter().map(|report| RunScore::of(report).convergence()).collect();
    Some(RcpTable::of(first, ruleset)?.check(&runs))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn problems_of_runs(runs: &[RunScore], benchmark: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let wanted = num_runs(benchmark);
    if runs.len() != wanted {
        let num_runs = runs.len();
        problems.push(format!("found {num_runs} result_*.txt; the rules require {wanted}"));
    }
    for run in runs {
        let name = run.name();
        match (&run.error, run.status.as_deref()) {
            (Some(error), _) => problems.push(format!("{name} does not count: {error}")),
            (None, Some("success")) => {}
            (None, status) => problems.push(format!(
                "{name} counts, as in the reference, although its status is {}",
                status.unwrap_or("not logged")
            )),
        }
    }
    let num_failed = runs.iter().filter(|run| run.counted().is_none()).count();
    let allowed = num_dropped(benchmark);
    if num_failed > allowed {
        problems.push(format!("no score: {num_failed} runs failed; at most {allowed} may fail"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compliance::check_bytes;

    const OPEN: &str = include_str!("../../tests/logs/ok_open.txt");
    const CLOSED: &str = include_str!("../../tests/logs/ok_closed_lars.txt");

    fn results() -> SystemResults {
        SystemResults::of_log(Path::new("/x/Somebody/results/box/resnet/result_0.txt"))
    }

    fn score(logs: &[String], description: &str) -> SystemScore {
        let report = |(number, log): (usize, &String)| {
            let path = PathBuf::from(format!("result_{number}.txt"));
            Report { path, ..check_bytes(log.as_bytes(), Ruleset::V4_0_0) }
        };
        let reports: Vec<_> = logs.iter().enumerate().map(report).collect();
        let description: Map<String, Value> = serde_json::from_str(description).unwrap();
        let logged = reports.iter().find_map(|report| report.division.as_deref());
        let both = (&reports[..], logged);
        SystemScore::described(&results(), Ruleset::V4_0_0, Some(&description), both)
    }

    /// The log of a run that stops `minutes` later.
    fn later(log: &str, minutes: u64) -> String {
        let stop = log.lines().last().unwrap();
        let (before, rest) = stop.split_once("\"time_ms\": ").unwrap();
        let (time, after) = rest.split_once(',').unwrap();
        let time = time.parse::<u64>().unwrap() + minutes * 60_000;
        log.replace(stop, &format!("{before}\"time_ms\": {time},{after}"))
    }

    #[test]
    fn the_fastest_and_slowest_do_not_count_and_a_failed_run_is_the_slowest() {
        let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-12;
        assert!(close(olympic_mean(&[9.0, 1.0, 2.0, 3.0, 4.0], 0, 1), 3.0));
        assert!(close(olympic_mean(&[1.0, 2.0, 3.0, 4.0], 1, 1), 3.0));
        assert!(close(olympic_mean(&[4.0, 1.0, 2.0, 3.0], 0, 1), 2.5));
        assert_eq!(olympic_mean(&[1.0, 2.0, 3.0], 2, 1), None);
        assert_eq!(olympic_mean(&[1.0, 2.0], 0, 1), None);
        assert_eq!(olympic_mean(&[], 0, 1), None);
        assert_eq!(olympic_mean(&[], 1, 1), None);
    }

    #[test]
    fn an_open_system_is_scored_without_a_convergence_test() {
        let logs: Vec<_> = (0..5).map(|minutes| later(OPEN, minutes)).collect();
        let one = score(&logs[..1], "{}").runs[0].minutes.unwrap();
        let score = score(&logs, r#"{"submitter": "Some Body", "division": "open"}"#);
        assert!((score.scaled_minutes.unwrap() - one - 2.0).abs() < 1e-9);
        assert_eq!(score.submitter.as_deref(), Some("Some Body"));
        assert!(score.is_valid() && score.rcp.is_none() && score.problems.is_empty());
    }

    #[test]
    fn a_closed_system_that_converges_too_fast_has_a_score_but_no_valid_one() {
        let logs = vec![CLOSED.to_owned(); 5];
        let score = score(&logs, r#"{"division": "closed"}"#);
        assert!(matches!(&score.rcp, Some(Ok(check)) if !check.passed), "{:?}", score.rcp);
        assert!(!score.is_valid() && score.olympic_minutes == score.scaled_minutes);
        assert!(score.problems[0].starts_with("convergence failed: 8.00 epochs"), "{score:?}");
    }

    #[test]
    fn what_a_reviewer_would_ask_about_is_reported() {
        let mut logs = vec![OPEN.to_owned(); 4];
        logs[1] = OPEN.replace("\"success\"", "\"aborted\"");
        logs[2] = "nothing".to_owned();
        logs[3] = "nothing".to_owned();
        let score = score(&logs, r#"{"division": "Closed"}"#);
        insta::assert_snapshot!(score.problems.join("\n"), @r#"
        the description's division is closed, the log's is open
        found 4 result_*.txt; the rules require 5
        result_1.txt counts, as in the reference, although its status is aborted
        result_2.txt does not count: no-records: no line contains the token ":::MLLOG " (with its space)
        result_3.txt does not count: no-records: no line contains the token ":::MLLOG " (with its space)
        no score: 2 runs failed; at most 1 may fail
        no convergence test: a run does not log global_batch_size; log it
        "#);
    }

    #[test]
    fn the_factor_is_written_only_when_requested_and_a_stale_one_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut score = score(&vec![CLOSED.to_owned(); 5], r#"{"division": "closed"}"#);
        score.results.folder = folder.path().into();
        let stale = folder.path().join("scaling.json");
        fs::write(&stale, "{}").unwrap();
        assert_eq!(score.write_scaling().unwrap(), None);
        assert!(!stale.exists());
        let Some(Ok(check)) = &mut score.rcp else { panic!("it is closed") };
        check.scaling = 1.25;
        assert_eq!(score.write_scaling().unwrap(), Some(stale.clone()));
        assert_eq!(fs::read_to_string(&stale).unwrap(), r#"{"scaling_factor": 1.25}"#);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
