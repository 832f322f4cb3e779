//! The file of labels beside an archive of validation images.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run::data::Dataset;
use mlperf_run_fuzz::{Files, check_index};

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(set));

fuzz_target!(|input: &[u8]| {
    FILES.with(|files| {
        files.put("val.txt", input);
        match Dataset::open(files.root()) {
            Ok(set) => check_index(&set.eval),
            Err(error) => assert!(error.to_string().contains(';'), "no cure: {error}"),
        }
    });
});

/// Training images of two classes, and three validation images in an archive.
fn set() -> Files {
    let files = Files::new();
    for class in ["n01440764", "n02102040"] {
        files.put(&format!("train/{class}/0.JPEG"), b"");
    }
    let mut archive = tar::Builder::new(Vec::new());
    for number in 1..=3 {
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        let name = format!("ILSVRC2012_val_{number:08}.JPEG");
        archive.append_data(&mut header, name, &b"x"[..]).expect("memory takes every write");
    }
    let archive = archive.into_inner().expect("memory takes every write");
    files.put("ILSVRC2012_img_val.tar", &archive);
    files
}
