//! FFCV's `.ffcv` files.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run_fuzz::Files;

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

fuzz_target!(|input: &[u8]| {
    FILES.with(|files| {
        files.put("train/0.beton", input);
        files.check_set();
    });
});
