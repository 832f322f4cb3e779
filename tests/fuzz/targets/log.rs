//! MLPerf logs, parsed, judged and scored.
#![no_main]

use std::io::BufReader;

use libfuzzer_sys::fuzz_target;
use mlperf_run::compliance::{Log, Ruleset, check, check_bytes};
use mlperf_run::submission::RunScore;

fuzz_target!(|input: &[u8]| {
    let ruleset = Ruleset::ALL[input.len() % Ruleset::ALL.len()];
    let report = check_bytes(input, ruleset);
    // However the bytes come in, they are the same log.
    let in_pieces = check(BufReader::with_capacity(7, input), ruleset).expect("memory can be read");
    assert_eq!(report.findings, in_pieces.findings);
    for finding in &report.findings {
        assert!(finding.to_string().contains(';'), "no cure: {finding}");
    }
    let log = Log::parse(input);
    let lines = input.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    assert!(log.records.len() + log.flaws.len() <= lines);
    assert!(log.flaws.is_empty() || !report.reference_accepts(), "a flaw was accepted");
    let _ = RunScore::of(&report);
});
