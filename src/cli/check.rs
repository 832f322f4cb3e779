//! `mlperf-run check`: judges MLPerf logs.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use crate::cli::exit::{Exit, Failure, OrExit, Outcome};
use crate::compliance::{Code, Finding, Report, Ruleset, Severity, Strictness, check_file};
use crate::console;

/// Findings of one code and key that the text shows; `--json` shows all.
const SHOWN_ALIKE: usize = 3;

/// What `check` is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Logs, or folders of which every result_*.txt below is checked
    #[arg(value_name = "PATH", required_unless_present = "explain")]
    pub paths: Vec<PathBuf>,
    /// Rules to judge by; auto takes what the run's manifest names, else 4.0.0
    #[arg(long, value_name = "RULESET", default_value = "auto", value_parser = ruleset_parser())]
    pub ruleset: RulesetChoice,
    /// Let warnings reject, as the reference checker's --werror does
    #[arg(long)]
    pub werror: bool,
    /// Let faults reject that the reference checker overlooks
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Explain a finding's code
    #[arg(long, value_name = "CODE", conflicts_with = "paths", value_parser = code_parser())]
    pub explain: Option<Code>,
}

/// Which rules a log is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesetChoice {
    /// Those of the run's manifest, else the latest.
    Auto,
    /// These.
    Named(Ruleset),
}

fn ruleset_parser() -> impl TypedValueParser<Value = RulesetChoice> {
    let names = Ruleset::ALL.map(Ruleset::as_str);
    PossibleValuesParser::new(["auto"].into_iter().chain(names))
        .map(|name| name.parse().map_or(RulesetChoice::Auto, RulesetChoice::Named))
}

fn code_parser() -> impl TypedValueParser<Value = Code> {
    PossibleValuesParser::new(Code::ALL.iter().map(|code| code.as_str())).map(|name| {
        let found = Code::ALL.iter().find(|code| code.as_str() == name);
        *found.expect("clap lets only these names through")
    })
}

/// Checks, prints, and ends with [`Exit::NotCompliant`] if a log is rejected.
pub fn run(args: &CheckArgs) -> Outcome {
    let (text, exit) = answer(args)?;
    console::result(text.trim_end());
    Ok(exit)
}

/// What [`run`] prints, and the code it ends with.
pub fn answer(args: &CheckArgs) -> Result<(String, Exit), Failure> {
    if let Some(code) = args.explain {
        return Ok((explanation(code), Exit::Ok));
    }
    let strictness = Strictness { warnings_reject: args.werror, faults_reject: args.strict };
    let checked = check_all(args).or_exit(Exit::Invalid)?;
    let rejected = checked.iter().filter(|checked| !checked.report.accepted(strictness)).count();
    let text = if args.json { json(&checked, rejected) } else { human(&checked, strictness) };
    Ok((text, if rejected == 0 { Exit::Ok } else { Exit::NotCompliant }))
}

/// One log, judged, and why by these rules.
struct Checked {
    report: Report,
    why: String,
}

fn check_all(args: &CheckArgs) -> anyhow::Result<Vec<Checked>> {
    let mut checked = Vec::new();
    for path in &args.paths {
        for log in logs_at(path)? {
            let (ruleset, why) = match args.ruleset {
                RulesetChoice::Named(ruleset) => (ruleset, "--ruleset".into()),
                RulesetChoice::Auto => ruleset_of_run(&log)?,
            };
            let report = check_file(&log, ruleset)
                .with_context(|| format!("cannot read the log {}", log.display()))?;
            checked.push(Checked { report, why });
        }
    }
    Ok(checked)
}

/// The log that `path` is, or every `result_*.txt` below it.
fn logs_at(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let metadata = path.metadata().with_context(|| format!("cannot check {}", path.display()))?;
    if !metadata.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut logs = Vec::new();
    collect_logs(path, &mut logs).with_context(|| format!("cannot check {}", path.display()))?;
    if logs.is_empty() {
        return Err(anyhow!("no result_*.txt lies below {}; name a log", path.display()));
    }
    // By number where the names are numbered: result_2 before result_10.
    logs.sort_by_cached_key(|log| {
        (log.parent().map(Path::to_path_buf), log.as_os_str().len(), log.clone())
    });
    Ok(logs)
}

fn collect_logs(folder: &Path, logs: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            collect_logs(&entry.path(), logs)?;
        } else if name.starts_with("result_") && name.ends_with(".txt") {
            logs.push(entry.path());
        }
    }
    Ok(())
}

/// The ruleset that the manifest of the log's run names, else the latest, and why.
fn ruleset_of_run(log: &Path) -> anyhow::Result<(Ruleset, String)> {
    let default = (Ruleset::LATEST, "the default".to_string());
    let Some(path) = manifest_of(log) else { return Ok(default) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(default),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let manifest: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    match &manifest["ruleset"] {
        serde_json::Value::Null => Ok(default),
        serde_json::Value::String(name) => {
            let ruleset = name.parse().with_context(|| format!("in {}", path.display()))?;
            Ok((ruleset, path.display().to_string()))
        }
        other => Err(anyhow!("ruleset in {} is {other}, not a name", path.display())),
    }
}

/// `DIR/run_N/manifest.json` of `DIR/resnet/result_N.txt`.
fn manifest_of(log: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(log).ok()?;
    let number = absolute.file_stem()?.to_str()?.strip_prefix("result_")?;
    let folder = absolute.parent()?;
    let system = (folder.file_name()? == "resnet").then(|| folder.parent())??;
    Some(system.join(format!("run_{number}")).join("manifest.json"))
}

fn explanation(code: Code) -> String {
    format!(
        "{code} ({severity})\n{meaning}\nCure: {cure}.\n",
        severity = match code.severity() {
            Severity::Error => "error: the reference checker rejects the log",
            Severity::Warning =>
                "warning: rejects with --werror, here and in the reference checker",
            Severity::Fault => "fault: rejects with --strict; the reference checker overlooks it",
            Severity::Advice => "advice: never rejects",
        },
        meaning = code.meaning(),
        cure = code.cure(),
    )
}

/// One line a log, and below it what is wrong.
fn human(checked: &[Checked], strictness: Strictness) -> String {
    let mut text = String::new();
    let mut put = |line: String| writeln!(text, "{line}").expect("a string takes every write");
    let mut num_rejected = 0;
    for Checked { report, why } in checked {
        let accepted = report.accepted(strictness);
        num_rejected += usize::from(!accepted);
        put(format!(
            "{verdict}  {path}  ruleset {ruleset} ({why}), {division}, {minutes}",
            verdict = if accepted { "accepted" } else { "rejected" },
            path = report.path.display(),
            ruleset = report.ruleset,
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

fn put_findings(findings: &[Finding], put: &mut impl FnMut(String)) {
    let alike = |a: &Finding, b: &Finding| a.code == b.code && a.key == b.key;
    for (index, finding) in findings.iter().enumerate() {
        let num_before = findings[..index].iter().filter(|other| alike(other, finding)).count();
        if num_before > SHOWN_ALIKE {
            continue;
        }
        if num_before == SHOWN_ALIKE {
            let num_left = findings[index..].iter().filter(|other| alike(other, finding)).count();
            put(format!("  and {num_left} more like it; --json shows all"));
            continue;
        }
        let place = finding.line.map_or(String::new(), |line| format!(" line {line}"));
        let severity = finding.severity().as_str();
        put(format!("  {severity}[{code}]{place}: {finding}", code = finding.code));
    }
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
    division: Option<&'a str>,
    reference_accepts: bool,
    findings: Vec<FindingAnswer>,
}

#[derive(Serialize)]
struct FindingAnswer {
    code: &'static str,
    severity: &'static str,
    key: Option<&'static str>,
    line: Option<usize>,
    message: String,
}

fn json(checked: &[Checked], rejected: usize) -> String {
    let files = checked.iter().map(|Checked { report, .. }| FileAnswer {
        path: report.path.to_string_lossy().into_owned(),
        ruleset: report.ruleset.as_str(),
        division: report.division.as_deref(),
        reference_accepts: report.reference_accepts(),
        findings: report
            .findings
            .iter()
            .map(|finding| FindingAnswer {
                code: finding.code.as_str(),
                severity: finding.severity().as_str(),
                key: finding.key,
                line: finding.line,
                message: finding.to_string(),
            })
            .collect(),
    });
    let answer = Answer { files: files.collect(), accepted: checked.len() - rejected, rejected };
    serde_json::to_string_pretty(&answer).expect("an answer has only strings for keys")
}
