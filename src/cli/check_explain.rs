//! `mlperf-run check --explain`: explains the code of a finding, or what the rules say about a key.

use anyhow::anyhow;

use super::ruleset::RulesetChoice;
use crate::compliance::{Code, KeyRule, Ruleset, Severity, benchmarks, explain, latest_ruleset};

/// Explains `name`, which is a code or a key.
pub(super) fn explanation(
    name: &str,
    benchmark: Option<&str>,
    ruleset: RulesetChoice,
) -> anyhow::Result<String> {
    match (Code::ALL.iter().find(|code| code.as_str() == name), benchmark) {
        (Some(code), None) => Ok(of_code(*code)),
        (_, Some(benchmark)) => of_key(name, benchmark, ruleset),
        (None, None) => Err(anyhow!(
            "{name:?} is not the code of a finding; for a key, add --benchmark BENCHMARK"
        )),
    }
}

fn of_code(code: Code) -> String {
    format!(
        "{code} ({severity})\n{meaning}\nFix: {cure}.\nSource: {source}.\n",
        severity = match code.severity() {
            Severity::Error => "error: the reference checker rejects the log",
            Severity::Warning =>
                "warning: rejects with --werror, here and in the reference checker",
            Severity::Fault => "fault: rejects with --strict; the reference checker overlooks it",
            Severity::Advice => "advice: never rejects",
        },
        meaning = code.meaning(),
        cure = code.cure(),
        source = code.source(),
    )
}

fn of_key(key: &str, benchmark: &str, ruleset: RulesetChoice) -> anyhow::Result<String> {
    let ruleset = match ruleset {
        RulesetChoice::Named(ruleset) => ruleset,
        RulesetChoice::Auto => latest_ruleset(benchmark).unwrap_or(Ruleset::LATEST),
    };
    let known = benchmarks(ruleset);
    if !known.contains(&benchmark) {
        let known = known.join(", ");
        return Err(anyhow!("ruleset {ruleset} has no {benchmark:?}; use one of {known}"));
    }
    let rules = explain(key, benchmark, ruleset);
    if rules.is_empty() {
        return Ok(format!("{key}: ruleset {ruleset} says nothing about it for {benchmark}\n"));
    }
    let mut lines = vec![format!("{key} in ruleset {ruleset}")];
    for KeyRule { scope, statements, source } in rules {
        lines.extend([String::new(), format!("{scope} ({source})")]);
        lines.extend(statements.iter().map(|statement| format!("  {statement}")));
    }
    Ok(lines.join("\n"))
}
