//! Images stored as raw pixels use the same code path as encoded ones: their span gets the header
//! of a binary pixmap (PPM, `P6`), so that the decoder knows their size and that they need no
//! decoding.

use std::io::Write;

use crate::data::image::pixels::{DecodeError, DecodedImage, MAX_PIXELS, Size};

/// Starts `file` with the header of an image; its RGB pixels follow.
pub(in crate::data) fn begin(file: &mut Vec<u8>, size: Size) {
    let Size { height, width } = size;
    writeln!(file, "P6 {width} {height} 255").expect("writing to a vector succeeds");
}

/// The image of a pixmap; `None` if `file` is not a pixmap.
pub(in crate::data) fn read(file: &[u8]) -> Result<Option<DecodedImage<'_>>, DecodeError> {
    let Some(mut rest) = file.strip_prefix(b"P6") else { return Ok(None) };
    let [width, height, highest] = [(); 3].map(|()| number(&mut rest));
    let (Some(width), Some(height), Some(255)) = (width, height, highest) else {
        return Err(DecodeError::Damaged("the header of a pixmap is damaged".to_owned()));
    };
    if width.checked_mul(height).is_none_or(|num_pixels| num_pixels > MAX_PIXELS) {
        return Err(DecodeError::TooLarge { width, height });
    }
    // One space separates header and pixels.
    let pixels = rest.get(1..1 + width * height * 3);
    match pixels {
        Some(pixels) if !pixels.is_empty() => Ok(Some(DecodedImage { pixels, width, height })),
        _ => Err(DecodeError::Damaged("the pixmap is truncated or empty".to_owned())),
    }
}

/// Reads spaces and a number.
fn number(text: &mut &[u8]) -> Option<usize> {
    let start = text.trim_ascii_start();
    let num_digits = start.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = start.split_at(num_digits);
    // A space precedes the number, and one follows it.
    let is_parted = start.len() < text.len() && rest.first().is_some_and(u8::is_ascii_whitespace);
    *text = rest;
    std::str::from_utf8(digits).ok().filter(|_| is_parted)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { height: 2, width: 3 };

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        begin(&mut file, SIZE);
        file.extend(0..18);
        file
    }

    #[test]
    fn a_started_pixmap_is_read_back() {
        let file = file();
        let image = read(&file).unwrap().unwrap();
        assert_eq!((image.size(), image.pixels[0], image.pixels[17]), (SIZE, 0, 17));
        assert!(read(b"\xff\xd8").unwrap().is_none());
    }

    #[test]
    fn damaged_pixmaps_are_rejected() {
        let file = file();
        for length in 2..file.len() {
            assert!(read(&file[..length]).is_err(), "{length} bytes");
        }
        for header in ["P6 3 2 65535\n", "P6 3 -2 255\n", "P63 2 255\n", "P6 0 9 255\n", "P6 # 3"] {
            let file = [header.as_bytes(), &[0; 40]].concat();
            assert!(read(&file).is_err(), "{header}");
        }
        for header in ["P6 99999999 9 255\n", "P6 9999999999999 9999999999999 255\n"] {
            assert!(matches!(read(header.as_bytes()), Err(DecodeError::TooLarge { .. })));
        }
    }
}
