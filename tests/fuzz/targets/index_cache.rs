//! An index that was kept from the last time, in the cache.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run::data::fuzz::load_index;
use mlperf_run_fuzz::{Files, check_index};

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

fuzz_target!(|input: &[u8]| {
    // The checksum is made right, which no mutation would.
    let Some((content, _)) = input.split_last_chunk::<4>() else { return };
    let index = [content, &crc32c::crc32c(content).to_le_bytes()].concat();
    FILES.with(|files| {
        if let Some(index) = load_index(&files.put("index.bin", &index)) {
            check_index(&index);
        }
    });
});
