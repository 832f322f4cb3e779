//! TFRecord files of `tf.Example`.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run_fuzz::Files;

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

/// Length and its checksum, before a message; the checksum of the message follows it.
const HEADER: usize = 12;

fuzz_target!(|input: &[u8]| {
    let mut records = input.to_vec();
    sign(&mut records);
    FILES.with(|files| {
        files.put("train/a.tfrecord", &records);
        files.check_set();
    });
});

/// Makes the checksums of all records right, which no mutation would.
fn sign(mut records: &mut [u8]) {
    while let Some((length, _)) = records.split_first_chunk::<8>() {
        let checksum = masked(length);
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some(place) = records.get_mut(8..HEADER) else { return };
        place.copy_from_slice(&checksum);
        let end = HEADER.saturating_add(length);
        let Some((record, rest)) = records.split_at_mut_checked(end) else { return };
        let checksum = masked(&record[HEADER..]);
        let Some((place, rest)) = rest.split_at_mut_checked(4) else { return };
        place.copy_from_slice(&checksum);
        records = rest;
    }
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}
