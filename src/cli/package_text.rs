//! Verdicts on submissions as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::check::{FindingAnswer, painted_severity, painted_verdict, put_findings};
use super::score;
use crate::{
    compliance::{Report, Severity, Strictness},
    console::{Paint, painted},
    mlperf::{LEGEND, UNVERIFIED},
    submission::{Code, Finding, Package, SystemVerdict, Tool, Verdict},
};

/// Findings of one code that the text lists; JSON has all.
const SHOWN_ALIKE: usize = 3;

/// The explanation of a code.
pub(super) fn explanation(code: Code) -> String {
    let severity = match (code.severity(), code.tool()) {
        (Severity::Error, Tool::RepoChecker) => "error: the reference's repository checker rejects",
        (Severity::Error, Tool::SeedChecker) => "error: the reference's seed checker rejects",
        (Severity::Error, _) => "error: the reference's package checker rejects",
        (Severity::Warning, _) => "warning: rejects with --werror",
        (Severity::Fault, _) => "fault: rejects with --strict; the reference overlooks it",
        (Severity::Advice, _) => "advice: never rejects",
    };
    format!("{code} ({severity})\n{}\nFix: {}.\n", code.meaning(), code.cure())
}

/// One paragraph per submission.
pub(super) fn verdicts(verdicts: &[Verdict], strictness: Strictness) -> String {
    let mut text = String::new();
    let mut put = |line: String| writeln!(text, "{line}").expect("writing to a string succeeds");
    for verdict in verdicts {
        let path = verdict.submission.display();
        put(format!(
            "{}  {path}  ruleset {}, {}",
            painted_verdict(verdict.accepted(strictness)),
            verdict.ruleset,
            tools(verdict)
        ));
        put_tree(&verdict.findings, &mut put);
        for system in &verdict.systems {
            put_system(system, strictness, &mut put);
        }
    }
    if verdicts.iter().any(|verdict| !verdict.systems.is_empty()) {
        put(format!("{UNVERIFIED} {LEGEND}"));
    }
    if verdicts.len() > 1 {
        let accepted = verdicts.iter().filter(|verdict| verdict.accepted(strictness)).count();
        put(format!("{accepted} accepted, {} rejected", verdicts.len() - accepted));
    }
    text
}

/// The verdict of each reference tool.
fn tools(verdict: &Verdict) -> String {
    let word = |accepts: bool| if accepts { "accepts" } else { "rejects" };
    let seeds = match verdict.seed_checker_accepts() {
        None => "does not run".into(),
        Some(accepts) if verdict.reaches_seed_checker() => word(accepts).to_owned(),
        Some(accepts) => format!(
            "is not reached (the package checker crashes before it; here it {})",
            word(accepts)
        ),
    };
    format!(
        "package checker {}, seed checker {seeds}, repository checker {}",
        word(verdict.package_checker_accepts()),
        word(verdict.repo_checker_accepts())
    )
}

fn put_tree(findings: &[Finding], put: &mut impl FnMut(String)) {
    for (index, finding) in findings.iter().enumerate() {
        let alike = |other: &&Finding| other.code == finding.code;
        let num_before = findings[..index].iter().filter(alike).count();
        if num_before == SHOWN_ALIKE {
            let num_left = findings[index..].iter().filter(alike).count();
            put(format!("  and {num_left} more {}; --json shows all", finding.code));
        }
        if num_before < SHOWN_ALIKE {
            let severity = painted_severity(finding.severity());
            let path = finding.path.display();
            put(format!("  {severity}[{}] {path}: {finding}", finding.code));
        }
    }
}

fn put_system(system: &SystemVerdict, strictness: Strictness, put: &mut impl FnMut(String)) {
    let minutes = |minutes: Option<f64>| minutes.map_or("-".into(), |it| format!("{it:.4}"));
    let score = &system.score;
    put(format!(
        "  {}  {}, {}, {} logs, olympic mean {} min, unverified score {} min",
        score.results.system,
        score.benchmark,
        score.division.as_deref().unwrap_or("no division"),
        system.reports.len(),
        minutes(score.olympic_minutes),
        minutes(score.scaled_minutes)
    ));
    for report in system.reports.iter().filter(|report| !report.findings.is_empty()) {
        let name = report.path.file_name().unwrap_or_default().to_string_lossy();
        put(format!("    {name} {}", painted_verdict(report.accepted(strictness))));
        put_findings(&report.findings, &mut |line| put(format!("    {line}")));
    }
}

/// A written submission, as text.
pub(super) fn package(package: &Package, strictness: Strictness) -> String {
    let mut text = verdicts(std::slice::from_ref(&package.verdict), strictness);
    let mut put = |line: String| writeln!(text, "{line}").expect("writing to a string succeeds");
    for note in &package.notes {
        put(format!("  {} {note}", painted("note:", Paint::Doubtful)));
    }
    put(format!("archive  {}", package.archive.display()));
    put(format!("sha256   {}", package.sha256));
    text
}

/// A written submission, as JSON.
pub(super) fn package_json(package: &Package) -> String {
    let sets = package.sets.iter().map(|set| {
        let runs = set.runs.iter().enumerate().map(|(index, run)| {
            json!({
                "run": run.folder.to_string_lossy(),
                "seed": run.manifest.seed,
                "minutes": run.timing.minutes,
                "taken": set.chosen.contains(&index),
            })
        });
        json!({ "system": set.system, "runs": runs.collect::<Vec<_>>() })
    });
    let answer = json!({
        "submission": package.submission.to_string_lossy(),
        "archive": package.archive.to_string_lossy(),
        "sha256": package.sha256,
        "systems": sets.collect::<Vec<_>>(),
        "notes": package.notes,
        "verdict": verdict_json(&package.verdict),
    });
    serde_json::to_string_pretty(&answer).expect("all keys are strings")
}

/// All verdicts.
pub(super) fn verdicts_json(verdicts: &[Verdict], strictness: Strictness) -> String {
    let accepted = verdicts.iter().filter(|verdict| verdict.accepted(strictness)).count();
    let answers: Vec<_> = verdicts.iter().map(verdict_json).collect();
    let answer = json!({
        "submissions": answers,
        "accepted": accepted,
        "rejected": verdicts.len() - accepted,
    });
    serde_json::to_string_pretty(&answer).expect("all keys are strings")
}

fn verdict_json(verdict: &Verdict) -> Value {
    let findings = verdict.findings.iter().map(|finding| {
        json!({
            "code": finding.code.as_str(),
            "severity": finding.severity().as_str(),
            "tool": finding.code.tool().as_str(),
            "path": finding.path.to_string_lossy(),
            "message": finding.message,
            "cure": finding.code.cure(),
        })
    });
    json!({
        "path": verdict.submission.to_string_lossy(),
        "ruleset": verdict.ruleset.as_str(),
        "reference_accepts": verdict.reference_accepts(),
        "package_checker_accepts": verdict.package_checker_accepts(),
        "seed_checker_accepts": verdict.seed_checker_accepts(),
        "seed_checker_reached": verdict.reaches_seed_checker(),
        "repo_checker_accepts": verdict.repo_checker_accepts(),
        "findings": findings.collect::<Vec<_>>(),
        "systems": verdict.systems.iter().map(system_json).collect::<Vec<_>>(),
    })
}

fn system_json(system: &SystemVerdict) -> Value {
    let log = |report: &Report| {
        let findings: Vec<_> = report.findings.iter().map(FindingAnswer::of).collect();
        json!({
            "file": report.path.file_name().unwrap_or_default().to_string_lossy(),
            "reference_accepts": report.reference_accepts(),
            "findings": findings,
        })
    };
    json!({
        "score": score::json_of(&system.score),
        "logs": system.reports.iter().map(log).collect::<Vec<_>>(),
    })
}
