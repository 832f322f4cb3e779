//! Decodes whole PNG files like Pillow's `convert("RGB")`: palettes and grey images of any depth
//! become RGB, transparency is dropped, gamma and profiles are not applied.
//!
//! Of 16-bit samples the upper 8 bits are taken. Pillow does so for colours, but clips 16-bit grey
//! images at 255, which is a bug and not reproduced here. Of several frames the first is used.
//!
//! The decoder's crate allocates for each file; the pixels go into a reused buffer.

use std::io::Cursor;

use crate::data::image::pixels::{DecodeError, DecodedImage, MAX_PIXELS, Size};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Largest expansion by deflate, bytes per byte: a match of 258 bytes in two bits.
const MAX_INFLATION: usize = 1032;

type Decoder<'a> = png::Decoder<Cursor<&'a [u8]>>;

/// Whether a file starts like a PNG.
pub(in crate::data) fn is_png(file: &[u8]) -> bool {
    file.starts_with(SIGNATURE)
}

/// Size of a PNG's image.
pub(in crate::data) fn size(file: &[u8]) -> Result<Size, DecodeError> {
    Ok(open(file)?.1)
}

fn open(file: &[u8]) -> Result<(Decoder<'_>, Size), DecodeError> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let header = decoder.read_header_info().map_err(|error| damaged(&error))?;
    let (width, height) = (header.width as usize, header.height as usize);
    if width * height > MAX_PIXELS {
        return Err(DecodeError::TooLarge { width, height });
    }
    Ok((decoder, Size { height, width }))
}

/// Decodes a PNG into `pixels`, which grows if it is too small.
pub(in crate::data) fn decode<'a>(
    file: &[u8],
    pixels: &'a mut Vec<u8>,
) -> Result<DecodedImage<'a>, DecodeError> {
    let (decoder, Size { height, width }) = open(file)?;
    let mut reader = decoder.read_info().map_err(|error| damaged(&error))?;
    // Do not reserve the memory that a header claims if a file of this length cannot hold the
    // image.
    if reader.info().raw_bytes() / MAX_INFLATION > file.len() {
        let fault = "the file is too short for the size that its header claims";
        return Err(DecodeError::Damaged(fault.to_owned()));
    }
    let num_pixels = width * height;
    let channels = reader.output_color_type().0.samples();
    let needed = num_pixels * channels.max(3);
    if pixels.len() < needed {
        pixels.resize(needed, 0);
    }
    let rows = &mut pixels[..num_pixels * channels];
    let frame = reader.next_frame(rows).map_err(|error| damaged(&error))?;
    if (frame.width as usize, frame.height as usize) != (width, height) {
        return Err(DecodeError::Damaged("a frame differs in size from the image".to_owned()));
    }
    spread(pixels, num_pixels, channels);
    Ok(DecodedImage { pixels: &pixels[..num_pixels * 3], width, height })
}

/// Expands pixels with `channels` channels to RGB, in place.
fn spread(pixels: &mut [u8], num_pixels: usize, channels: usize) {
    match channels {
        3 => {}
        4 => (0..num_pixels).for_each(|i| pixels.copy_within(4 * i..4 * i + 3, 3 * i)),
        // Start at the end, so that no value is overwritten before it is read.
        _ => (0..num_pixels).rev().for_each(|i| {
            let grey = pixels[channels * i];
            pixels[3 * i..3 * i + 3].fill(grey);
        }),
    }
}

fn damaged(error: &png::DecodingError) -> DecodeError {
    DecodeError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use png::{BitDepth, ColorType};
    use proptest::prelude::*;

    use super::*;
    use crate::data::{
        fixture::{self, Damage},
        image::{
            decode::{Decoder, Part},
            pixels::Crop,
        },
    };

    const SIZE: Size = Size { height: 5, width: 7 };

    /// A PNG with the given stored rows.
    fn file(color: ColorType, depth: BitDepth, rows: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, SIZE.width as u32, SIZE.height as u32);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(palette());
            encoder.set_trns(vec![0, 128, 3]);
        }
        encoder.write_header().unwrap().write_image_data(rows).unwrap();
        out
    }

    fn palette() -> Vec<u8> {
        (0..48).map(|i| (i * 5 + 3) as u8).collect()
    }

    /// Decodes after a larger image, whose pixels must not show up.
    fn decoded(file: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new();
        let large = Size { height: 30, width: 40 };
        decoder.decode(&fixture::jpeg(&fixture::image(large, 9), large)).unwrap();
        assert_eq!(decoder.size(file)?, SIZE);
        Ok(decoder.decode(file)?.pixels.to_vec())
    }

    fn rgb(pixels: impl IntoIterator<Item = [u8; 3]>) -> Vec<u8> {
        pixels.into_iter().flatten().collect()
    }

    /// The expected values are the output of Pillow 13's `convert("RGB")`.
    #[test]
    fn every_color_type_becomes_rgb_without_transparency() {
        let rows: Vec<u8> = (0..8 * 35).map(|i| (i * 37 % 251) as u8).collect();
        let of = |n: usize| &rows[..35 * n];
        let grey = |step: usize| rgb(rows.iter().step_by(step).take(35).map(|&v| [v; 3]));
        let color = |len: usize, step: usize| {
            rgb(of(len).chunks(len).map(|p| [p[0], p[step], p[2 * step]]))
        };
        let cases = [
            (ColorType::Grayscale, 1, BitDepth::Eight, grey(1)),
            (ColorType::Grayscale, 2, BitDepth::Sixteen, grey(2)),
            (ColorType::GrayscaleAlpha, 2, BitDepth::Eight, grey(2)),
            (ColorType::GrayscaleAlpha, 4, BitDepth::Sixteen, grey(4)),
            (ColorType::Rgb, 3, BitDepth::Eight, color(3, 1)),
            (ColorType::Rgb, 6, BitDepth::Sixteen, color(6, 2)),
            (ColorType::Rgba, 4, BitDepth::Eight, color(4, 1)),
            (ColorType::Rgba, 8, BitDepth::Sixteen, color(8, 2)),
        ];
        for (color, bytes, depth, expected) in cases {
            let found = decoded(&file(color, depth, of(bytes))).unwrap();
            assert_eq!(found, expected, "{color:?} {depth:?}");
        }
        let palette = palette();
        let numbers: Vec<u8> = (0..35).map(|i| i % 16).collect();
        let shown =
            rgb(numbers.iter().map(|&i| std::array::from_fn(|c| palette[3 * i as usize + c])));
        assert_eq!(decoded(&file(ColorType::Indexed, BitDepth::Eight, &numbers)).unwrap(), shown);
        // Two pixels per byte; one bit per pixel.
        let rows = [0x0f, 0x1e, 0x2d, 0x30].repeat(5);
        let steps = [0, 15, 1, 14, 2, 13, 3].map(|v| [v * 17; 3]);
        let found = decoded(&file(ColorType::Grayscale, BitDepth::Four, &rows)).unwrap();
        assert_eq!(found, rgb(steps.repeat(5)));
        let found = decoded(&file(ColorType::Grayscale, BitDepth::One, &[0b1100_1010; 5])).unwrap();
        assert_eq!(found, rgb([1, 1, 0, 0, 1, 0, 1].map(|v| [v * 255; 3]).repeat(5)));
    }

    #[test]
    fn a_part_is_a_view_of_the_whole() {
        let pixels = fixture::image(SIZE, 3);
        let file = file(ColorType::Rgb, BitDepth::Eight, &pixels);
        let crop = Crop { top: 1, left: 2, height: 3, width: 4 };
        let mut decoder = Decoder::new();
        for denominator in [1, 8] {
            let view = decoder.decode_part(&file, Part { crop, denominator }).unwrap();
            let mut found = vec![0; 36];
            view.copy_to(&mut found);
            let rows = (1..4).flat_map(|y| pixels[(y * 7 + 2) * 3..][..12].to_vec());
            assert_eq!(found, rows.collect::<Vec<_>>());
        }
    }

    /// The first frame of an animation may claim to be smaller than the image.
    #[test]
    fn a_frame_smaller_than_its_image_is_rejected() {
        let pixels = fixture::image(SIZE, 3);
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, 7, 5);
        encoder.set_color(ColorType::Rgb);
        encoder.set_animated(1, 0).unwrap();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        assert_eq!(decoded(&out).unwrap(), pixels);
        let frame = out.windows(4).position(|name| name == b"fcTL").unwrap();
        // The frame's width, after a sequence number.
        out[frame + 11] = 6;
        let sum = crc(&out[frame..frame + 30]);
        out[frame + 30..frame + 34].copy_from_slice(&sum.to_be_bytes());
        assert!(decoded(&out).is_err());
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| (c >> 1) ^ (0xedb8_8320 * (c & 1)))
        })
    }

    #[test]
    fn no_memory_is_reserved_for_sizes_beyond_the_limit() {
        let mut large = file(ColorType::Rgb, BitDepth::Eight, &fixture::image(SIZE, 3));
        large[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
        let sum = crc(&large[12..29]);
        large[29..33].copy_from_slice(&sum.to_be_bytes());
        assert!(matches!(size(&large), Err(DecodeError::TooLarge { .. })));
        large[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x20, 0]);
        let sum = crc(&large[12..29]);
        large[29..33].copy_from_slice(&sum.to_be_bytes());
        let mut pixels = Vec::new();
        let error = decode(&large, &mut pixels).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("too short for the size") && pixels.is_empty(), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_files_do_not_panic(damage in fixture::damage()) {
            let damage: Damage = damage;
            let mut file = file(ColorType::Indexed, BitDepth::Eight, &[7; 35]);
            damage.apply(&mut file);
            let mut decoder = Decoder::new();
            if let Ok(size) = decoder.size(&file) {
                prop_assume!(size.height * size.width < 1 << 20);
                if let Ok(image) = decoder.decode(&file) {
                    prop_assert_eq!(image.pixels.len(), size.height * size.width * 3);
                }
            }
        }
    }
}
