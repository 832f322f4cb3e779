//! MosaicML's MDS: the listing, and a shard beside it.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run_fuzz::{Files, parts};

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

fuzz_target!(|input: &[u8]| {
    let [listing, first, second] = parts(input);
    FILES.with(|files| {
        files.put("train/index.json", listing);
        files.put("train/shard.00000.mds", first);
        files.put("train/shard.00001.mds", second);
        files.check_set();
    });
});
