//! Checks that the runs of a closed system have different seeds (`seed_checker` of
//! `mlperf_logging`): each run logs at least one through MLLOG, and no two records have the same
//! seed from the same source line.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::code::Code;
use super::finding::Findings;
use crate::compliance::{self, Report};

/// Checks the seeds of one system's runs, in the order of their file names.
pub(super) fn check_seeds(reports: &[(PathBuf, &Report)], findings: &mut Findings) {
    let mut seen: HashMap<(&str, &str), &Path> = HashMap::new();
    for (path, report) in reports {
        if let Some(reason) = unreadable(report) {
            findings.add(Code::SeedUnreadable, path, reason);
            continue;
        }
        match report.seeds.len() {
            0 => findings.add(Code::SeedMissing, path, "it logs no seed; one is required"),
            1 => {}
            num => findings.add(Code::SeveralSeeds, path, format!("it logs {num} seeds")),
        }
        for seed in &report.seeds {
            let (Some(value), Some(site)) = (&seed.value, &seed.site) else { continue };
            if let Some(first) = seen.get(&(site.as_str(), value.as_str())) {
                let first = first.file_name().unwrap_or_default().to_string_lossy();
                let line = seed.line;
                let message = format!("line {line} logs seed {value} of {site}, as {first} does");
                findings.add(Code::SeedRepeated, path, message);
            } else {
                seen.insert((site, value), path);
            }
        }
    }
}

/// Adds advice about open runs with the same seed.
pub(super) fn advise_open_seeds(reports: &[(PathBuf, &Report)], findings: &mut Findings) {
    let mut seen: HashMap<&str, &Path> = HashMap::new();
    for (path, report) in reports {
        let values = report.seeds.iter().filter_map(|seed| seed.value.as_deref());
        for value in values {
            let first = *seen.entry(value).or_insert(path);
            if first != path {
                let first = first.file_name().unwrap_or_default().to_string_lossy();
                let message = format!("seed {value} is also that of {first}");
                findings.add(Code::OpenSeedRepeated, path, message);
            }
        }
    }
}

/// Why the seed checker would fail before it compares seeds.
fn unreadable(report: &Report) -> Option<String> {
    use compliance::Code::{BadJson, BadRecord};
    let flaw = report.findings.iter().find(|it| matches!(it.code, BadJson | BadRecord));
    if let Some(flaw) = flaw {
        let line = flaw.line.unwrap_or_default();
        return Some(format!("line {line} is not a record: {}", flaw.message));
    }
    let seed = report.seeds.iter().find(|seed| seed.value.is_none() || seed.site.is_none())?;
    let what = if seed.value.is_none() { "not an integer" } else { "logged without file and line" };
    Some(format!("the seed in line {} is {what}", seed.line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compliance::{Ruleset, check_bytes};

    const CLOSED: &str = include_str!("../../tests/logs/ok_closed_lars.txt");

    fn seed_line() -> &'static str {
        CLOSED.lines().find(|line| line.contains("\"key\": \"seed\"")).unwrap()
    }

    /// The log with its seed lines replaced.
    fn with_seeds(lines: &[String]) -> Report {
        check_bytes(
            CLOSED.replace(seed_line(), &lines.join("\n")).as_bytes(),
            Ruleset::LAST_WITH_RESNET,
        )
    }

    fn seeded(value: &str) -> String {
        let (before, rest) = seed_line().split_once("\"value\": ").unwrap();
        let (_, after) = rest.split_once(',').unwrap();
        format!("{before}\"value\": {value},{after}")
    }

    fn found(reports: &[Report]) -> String {
        let named = |(number, report)| (PathBuf::from(format!("result_{number}.txt")), report);
        let reports: Vec<_> = reports.iter().enumerate().map(named).collect();
        let mut findings = Findings::default();
        check_seeds(&reports, &mut findings);
        let told = findings.sorted();
        told.iter()
            .map(|it| format!("{} {}", it.code, it.path.display()))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn different_seeds_have_no_findings() {
        assert_eq!(found(&["1", "2", "3"].map(|value| with_seeds(&[seeded(value)]))), "");
    }

    #[test]
    fn missing_bad_and_repeated_seeds_are_found() {
        let reports = [
            with_seeds(&[seeded("7")]),
            with_seeds(&[seeded("\"7\"")]),
            with_seeds(&[]),
            with_seeds(&[seeded("null")]),
            with_seeds(&[":::MLLOG {".into(), seeded("8")]),
            with_seeds(&[seeded("9"), seeded("9")]),
        ];
        insta::assert_snapshot!(found(&reports), @r"
        seed-repeated result_1.txt
        seed-missing result_2.txt
        seed-unreadable result_3.txt
        seed-unreadable result_4.txt
        seed-repeated result_5.txt
        several-seeds result_5.txt
        ");
    }
}
