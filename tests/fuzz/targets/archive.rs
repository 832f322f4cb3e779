//! Tar archives: ILSVRC's archive of archives, `WebDataset` shards, folders in an archive.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use mlperf_run_fuzz::Files;

thread_local!(static FILES: LazyCell<Files> = LazyCell::new(Files::new));

const BLOCK: usize = 512;
/// Where a header has its checksum, and the magic.
const CHECKSUM: std::ops::Range<usize> = 148..156;
const MAGIC: usize = 257;

fuzz_target!(|input: &[u8]| {
    let mut archive = input.to_vec();
    sign(&mut archive);
    // Without its end an archive is refused before its members are looked at.
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    FILES.with(|files| {
        files.put("train/0.tar", &archive);
        files.check_set();
    });
});

/// Makes the checksums of all headers right, which no mutation would.
fn sign(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(BLOCK) {
        if block[MAGIC..].starts_with(b"ustar") {
            block[CHECKSUM].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}
