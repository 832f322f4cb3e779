//! The manifest of a store.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run::data::import::{Manifest, manifest_of, verify};
use mlperf_run_fuzz::Files;

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

fuzz_target!(|input: &[u8]| {
    FILES.with(|files| {
        files.put("train-00000.arrow", b"");
        files.put("manifest.json", input);
        let read = Manifest::read(files.root()).ok();
        // A shard lies beside it, so that no file is another program's.
        match manifest_of(files.root()) {
            Ok(whole) => assert!(whole.is_some() && whole == read),
            Err(error) => assert!(error.to_string().contains(';'), "no cure: {error}"),
        }
        match verify(files.root(), &|_| ()) {
            Ok(verified) => assert_eq!(Some(verified), read),
            Err(error) => assert!(error.to_string().contains(';'), "no cure: {error}"),
        }
    });
});
