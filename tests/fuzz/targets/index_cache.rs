//! An index that was kept from the last time, in the cache.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run::data::fuzz::load_index;
use mlperf_run_fuzz::{Files, check_index};

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

fuzz_target!(|input: &[u8]| {
    FILES.with(|files| {
        if let Some(index) = load_index(&files.put("index.bin", input)) {
            check_index(&index);
        }
    });
});
