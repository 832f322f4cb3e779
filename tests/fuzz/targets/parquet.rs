//! Parquet files, which an import writes out first.
#![no_main]

use std::{cell::LazyCell, fs};

use libfuzzer_sys::fuzz_target;
use mlperf_run::data::fuzz::unpack;
use mlperf_run::data::{Index, Split};
use mlperf_run_fuzz::{Files, check_index};

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

// Panics of the crate that reads Parquet become errors; libFuzzer's hook would end the process
// before. One that nobody catches still does.
fuzz_target!(init: drop(std::panic::take_hook()), |input: &[u8]| {
    FILES.with(|files| {
        let file = files.put("set/train-0.parquet", input);
        let spool = files.root().join("spool");
        match unpack(file.parent().expect("it lies in a folder"), &spool) {
            Ok(set) => drop(Index::open(&set, Split::Train).map(|index| check_index(&index))),
            Err(error) => assert!(error.to_string().contains("parquet"), "no file: {error}"),
        }
        let _ = fs::remove_dir_all(spool);
    });
});
