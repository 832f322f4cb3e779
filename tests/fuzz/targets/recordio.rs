//! MXNet's RecordIO: the records, and the file of offsets beside them.
#![no_main]

use std::{cell::LazyCell, fs};

use libfuzzer_sys::fuzz_target;
use mlperf_run_fuzz::{Files, parts};

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

fuzz_target!(|input: &[u8]| {
    let [records, offsets] = parts(input);
    FILES.with(|files| {
        files.put("train.rec", records);
        let offsets = files.put("train.idx", offsets);
        files.check_set();
        fs::remove_file(offsets).expect("it has just been written");
        files.check_set();
    });
});
