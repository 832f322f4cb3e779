//! A submission from anywhere: its system description, its hashes, the parameters of the checker;
//! and descriptions of systems in TOML.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run::compliance::{Ruleset, Strictness};
use mlperf_run::submission::{SystemDescription, SystemResults, SystemScore, summary_row, verify};
use mlperf_run_fuzz::{Files, parts};

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

const LOG: &str = "results/box/resnet/result_0.txt";

fuzz_target!(|input: &[u8]| {
    let [description, hashes, parameters, toml] = parts(input);
    let ruleset = Ruleset::ALL[input.len() % Ruleset::ALL.len()];
    FILES.with(|files| {
        let log = files.put(LOG, include_bytes!("../../logs/ok_closed_sgd.txt"));
        files.put("systems/box.json", description);
        files.put("SHA256SUMS", hashes);
        files.put("results/box/package_checker_params", parameters);
        let strict = Strictness { warnings_reject: true, faults_reject: true };
        let verdict = verify(files.root(), ruleset, strict);
        assert!(!verdict.accepted(strict) || verdict.reference_accepts(), "strict, and yet laxer");
        for finding in &verdict.findings {
            assert!(finding.to_string().contains(';'), "no cure: {finding}");
        }
        let reports: Vec<_> = verdict.systems.iter().flat_map(|it| it.reports.clone()).collect();
        if let Ok(score) = SystemScore::of(&SystemResults::of_log(&log), ruleset, &reports) {
            let _ = summary_row(&[score]);
        }
        check_toml(&files.put("box.toml", toml).display().to_string());
    });
});

/// A description that can be read is complete, and is itself when it is completed by itself.
fn check_toml(path: &str) {
    match SystemDescription::find(path) {
        Ok(system) => {
            let system = system.expect("it was named as a file");
            assert_eq!(system.completed_by(&system), system);
            let _ = (system.num_accelerators(), system.check_names());
            assert!(system.members(Ruleset::LAST_WITH_RESNET).len() >= 33);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
