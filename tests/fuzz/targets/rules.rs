//! Rule files: read, and put into words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlperf_run::compliance::fuzz::rule_file;

fuzz_target!(|text: &str| {
    match rule_file(text) {
        Ok(statements) => assert!(statements.iter().all(|it| !it.is_empty()), "an empty statement"),
        Err(reason) => assert!(!reason.is_empty(), "an error without a reason"),
    }
});
