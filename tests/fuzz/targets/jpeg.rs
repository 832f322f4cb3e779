//! Images: decoded whole, in part and at a fraction, cut down, and rewritten for a store.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlperf_run::data::fuzz::{Decoder, rewrite};
use mlperf_run::data::import::Exif;
use mlperf_run::data::{Crop, Size};

/// A header may claim a gigabyte, which is allowed and slow.
const MAX_PIXELS: usize = 1 << 17;

fuzz_target!(|input: &[u8]| {
    // The last bytes say where to cut; an end of image before them is the file's.
    let Some((file, &cut)) = input.split_last_chunk::<5>() else { return };
    let mut decoder = Decoder::new();
    match decoder.size(file) {
        Ok(size) if size.height * size.width > MAX_PIXELS => return,
        Ok(size) => decode(&mut decoder, file, (size, cut)),
        Err(reason) => assert!(!reason.is_empty()),
    }
    for (max_side, exif) in [(None, Exif::Ignore), (None, Exif::Apply), (Some(32), Exif::Ignore)] {
        let Ok(rewritten) = rewrite(file, max_side, exif) else { continue };
        let (decoded, pixels) = decoder.decode(&rewritten.file).expect("a store has good images");
        assert_eq!(decoded, rewritten.size);
        compare_part(&mut decoder, &rewritten.file, (decoded, cut), &pixels);
        // Of progressive images that lack some of their scans the decoder smoothes blocks.
        let is_kept =
            !rewritten.is_reencoded && !(rewritten.has_orientation && exif == Exif::Apply);
        if max_side.is_none() && is_kept && !is_progressive(file) {
            let (_, before) = decoder.decode(file).expect("it has been decoded to be pressed");
            assert!(before == pixels, "rewriting changed pixels");
        }
    }
});

fn decode(decoder: &mut Decoder, file: &[u8], (size, cut): (Size, [u8; 5])) {
    if let Ok((whole, pixels)) = decoder.decode(file) {
        assert_eq!(whole, size);
        compare_part(decoder, file, (size, cut), &pixels);
    }
    let denominator = 1 << (cut[4] % 4);
    if let Ok((part, pixels)) = decoder.decode_part(file, crop(size, cut), denominator) {
        assert_eq!(pixels.len(), part.height * part.width * 3);
    }
}

/// A part of a good image is what the whole has there.
fn compare_part(decoder: &mut Decoder, file: &[u8], (size, cut): (Size, [u8; 5]), whole: &[u8]) {
    let crop = crop(size, cut);
    let part = decoder.decode_part(file, crop, 1);
    let (part, pixels) = part.unwrap_or_else(|reason| panic!("{crop:?} of {size:?}: {reason}"));
    assert_eq!((part.height, part.width), (crop.height, crop.width));
    for (y, row) in pixels.chunks_exact(crop.width * 3).enumerate() {
        let start = ((crop.top + y) * size.width + crop.left) * 3;
        assert!(row == &whole[start..start + row.len()], "row {y} of {crop:?} of {size:?} differs");
    }
}

fn crop(size: Size, [top, left, height, width, _]: [u8; 5]) -> Crop {
    let axis = |limit: usize, start: u8, length: u8| {
        let start = usize::from(start) * limit / 256;
        (start, 1 + usize::from(length) * (limit - start) / 256)
    };
    let ((top, height), (left, width)) =
        (axis(size.height, top, height), axis(size.width, left, width));
    Crop { top, left, height, width }
}

fn is_progressive(file: &[u8]) -> bool {
    file.windows(2).any(|marker| matches!(marker, [0xff, 0xc2 | 0xc6 | 0xca | 0xce]))
}
