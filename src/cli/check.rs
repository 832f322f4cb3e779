//! `mlperf-run check`: checks MLPerf logs.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;

use crate::{
    cli::{
        check_explain::explanation,
        exit::{Exit, Failure, OrExit, Outcome},
        findings::StrictnessArgs,
        ruleset::RulesetChoice,
    },
    compliance::{Finding, Report, Severity, Strictness, check_files},
    console::{self, Paint, painted},
    submission::{LayoutError, RulesetGuess, SystemResults, Tree},
};

/// Findings of one code and key that the text lists; `--json` lists all.
const SHOWN_ALIKE: usize = 3;

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mlperf-run check results
  mlperf-run check v5.1/NVIDIA --json
  mlperf-run check --explain eval_accuracy --benchmark flux1")]
pub struct CheckArgs {
    /// Logs, or folders whose result_*.txt files are all checked
    #[arg(value_name = "PATH", required_unless_present = "explain")]
    pub paths: Vec<PathBuf>,
    /// Ruleset: 0.7.0 to 6.1.0; auto uses that of the run's manifest or of a folder such as v5.1,
    /// otherwise the latest with the log's benchmark
    #[arg(long, value_name = "RULESET", default_value = "auto")]
    pub ruleset: RulesetChoice,
    /// Which findings reject.
    #[command(flatten)]
    pub strictness: StrictnessArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Explain a finding's code, or with --benchmark what the ruleset says about a key
    #[arg(long, value_name = "CODE|KEY", conflicts_with = "paths")]
    pub explain: Option<String>,
    /// The benchmark whose rules --explain shows
    #[arg(long, value_name = "BENCHMARK", requires = "explain")]
    pub benchmark: Option<String>,
}

/// Checks and prints. Ends with [`Exit::NotCompliant`] if a log is rejected.
pub fn run(args: &CheckArgs) -> Outcome {
    let (text, exit) = answer(args)?;
    console::result(text.trim_end());
    Ok(exit)
}

/// The output and exit code of [`run`].
pub fn answer(args: &CheckArgs) -> Result<(String, Exit), Failure> {
    if let Some(name) = &args.explain {
        let explained = explanation(name, args.benchmark.as_deref(), args.ruleset);
        return Ok((explained.or_exit(Exit::Usage)?, Exit::Ok));
    }
    let strictness = args.strictness.strictness();
    let checked = check_all(args).or_exit(Exit::Invalid)?;
    let rejected = checked.iter().filter(|checked| !checked.report.accepted(strictness)).count();
    let text = if args.json { json(&checked, rejected) } else { human(&checked, strictness) };
    Ok((text, if rejected == 0 { Exit::Ok } else { Exit::NotCompliant }))
}

/// One checked log, and the origin of its ruleset.
struct Checked {
    report: Report,
    why: String,
}

fn check_all(args: &CheckArgs) -> anyhow::Result<Vec<Checked>> {
    let mut logs = Vec::new();
    for path in &args.paths {
        for system in systems_at(path)? {
            for log in &system.logs {
                logs.push((log.clone(), args.ruleset.of(log)?, submitter(&system)));
            }
        }
    }
    let jobs: Vec<_> = logs.iter().map(|(log, guess, _)| (log.clone(), guess.ruleset)).collect();
    let reports = check_files(&jobs).into_iter().zip(logs);
    reports
        .map(|(report, (log, RulesetGuess { why, .. }, submitter))| {
            let mut report =
                report.with_context(|| format!("cannot read the log {}", log.display()))?;
            if let Some(submitter) = submitter {
                report.advise_submitter(&submitter);
            }
            Ok(Checked { report, why })
        })
        .collect()
}

/// The log at `path`, or the systems below it.
fn systems_at(path: &Path) -> Result<Vec<SystemResults>, LayoutError> {
    let metadata =
        path.metadata().map_err(|source| LayoutError::Read { path: path.into(), source })?;
    if !metadata.is_dir() {
        return Ok(vec![SystemResults::of_log(path)]);
    }
    Ok(Tree::find(path)?.systems)
}

/// The submitter in the system's description. Logs are checked even if the description is
/// unreadable.
fn submitter(system: &SystemResults) -> Option<String> {
    match system.read_description() {
        Ok(description) => description?.get("submitter")?.as_str().map(str::to_owned),
        Err(error) => {
            console::note(format!("warning: {error}"));
            None
        }
    }
}

/// One line per log, followed by its findings.
fn human(checked: &[Checked], strictness: Strictness) -> String {
    let mut text = String::new();
    let mut put = |line: String| writeln!(text, "{line}").expect("writing to a string succeeds");
    let mut num_rejected = 0;
    for Checked { report, why } in checked {
        let accepted = report.accepted(strictness);
        num_rejected += usize::from(!accepted);
        put(format!(
            "{verdict}  {path}  ruleset {ruleset} ({why}), {benchmark}, {division}, {minutes}",
            verdict = painted_verdict(accepted),
            path = report.path.display(),
            ruleset = report.ruleset,
            benchmark = report.benchmark.as_deref().unwrap_or("no benchmark"),
            division = report.division.as_deref().unwrap_or("no division"),
            minutes = match report.timing {
                Some(timing) => format!("{:.2} min", timing.minutes),
                None => "no time".into(),
            },
        ));
        put_findings(&report.findings, &mut put);
    }
    if checked.len() > 1 {
        let num_accepted = checked.len() - num_rejected;
        put(format!("{num_accepted} accepted, {num_rejected} rejected"));
    }
    text
}

/// The findings of a log, one per line.
pub(super) fn put_findings(findings: &[Finding], put: &mut impl FnMut(String)) {
    let alike = |a: &Finding, b: &Finding| a.code == b.code && a.key == b.key;
    for (index, finding) in findings.iter().enumerate() {
        let num_before = findings[..index].iter().filter(|other| alike(other, finding)).count();
        if num_before > SHOWN_ALIKE {
            continue;
        }
        if num_before == SHOWN_ALIKE {
            let num_left = findings[index..].iter().filter(|other| alike(other, finding)).count();
            put(format!("  and {num_left} more of this kind; --json shows all"));
            continue;
        }
        let place = finding.line.map_or(String::new(), |line| format!(" line {line}"));
        let severity = painted_severity(finding.severity());
        put(format!("  {severity}[{code}]{place}: {finding}", code = finding.code));
    }
}

/// A verdict as a coloured word.
#[expect(clippy::fn_params_excessive_bools, reason = "a verdict is yes or no")]
pub(super) fn painted_verdict(accepted: bool) -> String {
    if accepted { painted("accepted", Paint::Good) } else { painted("rejected", Paint::Bad) }
}

/// A severity as a coloured word.
pub(super) fn painted_severity(severity: Severity) -> String {
    let paint = match severity {
        Severity::Error => Paint::Bad,
        Severity::Warning | Severity::Fault => Paint::Doubtful,
        Severity::Advice => Paint::Heading,
    };
    painted(severity.as_str(), paint)
}

#[derive(Serialize)]
struct Answer<'a> {
    files: Vec<FileAnswer<'a>>,
    accepted: usize,
    rejected: usize,
}

#[derive(Serialize)]
struct FileAnswer<'a> {
    path: String,
    ruleset: &'static str,
    benchmark: Option<&'a str>,
    division: Option<&'a str>,
    reference_accepts: bool,
    findings: Vec<FindingAnswer>,
}

/// A finding about a log, for JSON.
#[derive(Serialize)]
pub(super) struct FindingAnswer {
    code: &'static str,
    severity: &'static str,
    key: Option<&'static str>,
    line: Option<usize>,
    message: String,
}

impl FindingAnswer {
    pub(super) fn of(finding: &Finding) -> Self {
        Self {
            code: finding.code.as_str(),
            severity: finding.severity().as_str(),
            key: finding.key,
            line: finding.line,
            message: finding.to_string(),
        }
    }
}

fn json(checked: &[Checked], rejected: usize) -> String {
    let files = checked.iter().map(|Checked { report, .. }| FileAnswer {
        path: report.path.to_string_lossy().into_owned(),
        ruleset: report.ruleset.as_str(),
        benchmark: report.benchmark.as_deref(),
        division: report.division.as_deref(),
        reference_accepts: report.reference_accepts(),
        findings: report.findings.iter().map(FindingAnswer::of).collect(),
    });
    let answer = Answer { files: files.collect(), accepted: checked.len() - rejected, rejected };
    serde_json::to_string_pretty(&answer).expect("all keys are strings")
}
