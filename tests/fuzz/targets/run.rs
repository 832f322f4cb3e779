//! What a run leaves for the packager: its manifest and its recipe.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run::submission::RunSet;
use mlperf_run_fuzz::{Files, parts};

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

fuzz_target!(|input: &[u8]| {
    let [manifest, recipe] = parts(input);
    FILES.with(|files| {
        files.put("box/run_1/mllog.txt", include_bytes!("../../logs/ok_open.txt"));
        files.put("box/run_1/recipe.toml", recipe);
        files.put("box/run_1/manifest.json", manifest);
        let error = RunSet::gather(&[files.root().join("box")]).expect_err("one run is too few");
        assert!(!error.to_string().is_empty());
    });
});
