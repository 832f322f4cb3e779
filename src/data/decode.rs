//! JPEG files to RGB pixels, by libjpeg-turbo. Handle and buffers are kept from picture to
//! picture.
//!
//! Strict: what libjpeg-turbo merely warns of (a file cut short, damaged entropy data) is an
//! error, for it would fill the rest with grey. EXIF orientation is not applied, as in
//! torchvision. Deliberately absent: scaled and cropped decoding.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::augment::Size;
use thiserror::Error;
use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

/// PIL's limit against decompression bombs, px.
const MAX_PIXELS: usize = 178_956_970;

/// Why a file gives no picture; the path is the caller's to add.
#[derive(Debug, Error)]
pub(super) enum DecodeError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("not a JPEG but {0}")]
    NotJpeg(&'static str),
    #[error("a JPEG header without a picture")]
    NoFrame,
    #[error("{width} x {height} px exceed the limit of {MAX_PIXELS} px")]
    TooLarge { width: usize, height: usize },
    #[error("{0}")]
    Damaged(#[from] turbojpeg::Error),
}

/// A decoded picture: `pixels` is RGB, `[height, width, 3]`.
#[derive(Clone, Copy)]
pub(super) struct Picture<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Picture<'_> {
    pub(super) fn size(&self) -> Size {
        Size { height: self.height, width: self.width }
    }
}

/// One thread's decoder.
pub(super) struct Decoder {
    decompressor: Decompressor,
    file: Vec<u8>,
    pixels: Vec<u8>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        let decompressor = Decompressor::new().expect("a handle is a small allocation");
        Self { decompressor, file: Vec::new(), pixels: Vec::new() }
    }

    /// Reads and decodes a file.
    pub(super) fn read(&mut self, path: &Path) -> Result<Picture<'_>, DecodeError> {
        self.file.clear();
        File::open(path)?.read_to_end(&mut self.file)?;
        let file = std::mem::take(&mut self.file);
        let size = self.decode(&file);
        self.file = file;
        let (width, height) = size?;
        Ok(Picture { pixels: &self.pixels[..width * height * 3], width, height })
    }

    /// Decodes into the front of `self.pixels`; returns width and height.
    fn decode(&mut self, file: &[u8]) -> Result<(usize, usize), DecodeError> {
        if file.is_empty() {
            return Err(DecodeError::Empty);
        }
        if !file.starts_with(&[0xff, 0xd8]) {
            return Err(DecodeError::NotJpeg(guess_format(file)));
        }
        let header = self.decompressor.read_header(file).map_err(|error| match error {
            // A file of tables alone has a size of -1.
            turbojpeg::Error::IntegerOverflow(_) => DecodeError::NoFrame,
            error => DecodeError::Damaged(error),
        })?;
        let (width, height) = (header.width, header.height);
        if width * height > MAX_PIXELS {
            return Err(DecodeError::TooLarge { width, height });
        }
        // libjpeg-turbo converts grey and YCbCr to RGB, but not four inks.
        let format = match header.colorspace {
            Colorspace::CMYK | Colorspace::YCCK => PixelFormat::CMYK,
            _ => PixelFormat::RGB,
        };
        let pitch = width * format.size();
        if self.pixels.len() < pitch * height {
            self.pixels.resize(pitch * height, 0);
        }
        let pixels = &mut self.pixels[..pitch * height];
        self.decompressor.decompress(file, Image { pixels, width, pitch, height, format })?;
        if format == PixelFormat::CMYK {
            cmyk_to_rgb(&mut self.pixels[..pitch * height]);
        }
        Ok((width, height))
    }
}

/// In place; the result fills three quarters. Inks are taken to be stored inverted, as Adobe's
/// programs write them and PIL assumes: `R = C K / 255`.
fn cmyk_to_rgb(pixels: &mut [u8]) {
    for i in 0..pixels.len() / 4 {
        let black = u32::from(pixels[4 * i + 3]);
        for channel in 0..3 {
            let ink = u32::from(pixels[4 * i + channel]);
            pixels[3 * i + channel] = ((ink * black + 127) / 255) as u8;
        }
    }
}

/// What a file seems to be by its first bytes.
fn guess_format(file: &[u8]) -> &'static str {
    let starts: [(&[u8], &str); 9] = [
        (b"\x89PNG", "a PNG"),
        (b"GIF8", "a GIF"),
        (b"BM", "a BMP"),
        (b"II*\0", "a TIFF"),
        (b"MM\0*", "a TIFF"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"PK\x03\x04", "a zip archive"),
        (b"<", "HTML or XML"),
        (b"version https://git-lfs", "a Git LFS pointer"),
    ];
    if file.len() > 12 && file.starts_with(b"RIFF") && &file[8..12] == b"WEBP" {
        return "a WebP";
    }
    let known = starts.iter().find(|(magic, _)| file.starts_with(magic));
    known.map_or("something unknown", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use turbojpeg::Subsamp;

    use super::super::fixture::{self, encode};
    use super::*;

    const SIZE: Size = Size { height: 37, width: 50 };

    /// Decodes with a decoder that has seen a larger picture before.
    fn decode(file: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new();
        let large = Size { height: 100, width: 90 };
        decoder.decode(&fixture::jpeg(&fixture::picture(large, 9), large)).unwrap();
        let (width, height) = decoder.decode(file)?;
        assert_eq!(Size { height, width }, SIZE);
        Ok(decoder.pixels[..width * height * 3].to_vec())
    }

    fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
        assert_eq!(a.len(), b.len());
        let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        sum / a.len() as f64
    }

    #[test]
    fn colours_come_back_at_any_subsampling() {
        let pixels = fixture::picture(SIZE, 1);
        for subsamp in [Subsamp::None, Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::Sub4x1] {
            let file = encode(&pixels, SIZE, PixelFormat::RGB, subsamp);
            let decoded = decode(&file).unwrap();
            assert!(mean_difference(&decoded, &pixels) < 3.0, "{subsamp:?}");
            let one_shot = turbojpeg::decompress(&file, PixelFormat::RGB).unwrap();
            assert_eq!(decoded, one_shot.pixels);
        }
    }

    #[test]
    fn grey_pictures_become_rgb() {
        let grey: Vec<u8> = fixture::picture(SIZE, 2).chunks(3).map(|pixel| pixel[0]).collect();
        let file = encode(&grey, SIZE, PixelFormat::GRAY, Subsamp::Gray);
        let expected: Vec<u8> = grey.iter().flat_map(|&value| [value; 3]).collect();
        assert!(mean_difference(&decode(&file).unwrap(), &expected) < 3.0);
    }

    #[test]
    fn inverted_inks_become_rgb() {
        let inks: Vec<u8> = fixture::picture(SIZE, 3)
            .chunks(3)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 128])
            .collect();
        let file = encode(&inks, SIZE, PixelFormat::CMYK, Subsamp::None);
        let expected: Vec<u8> = inks
            .chunks(4)
            .flat_map(|ink| {
                [ink[0], ink[1], ink[2]].map(|value| (u32::from(value) * 128 / 255) as u8)
            })
            .collect();
        assert!(mean_difference(&decode(&file).unwrap(), &expected) < 3.0);
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_spoils_nothing() {
        let file = fixture::jpeg(&fixture::picture(SIZE, 4), SIZE);
        for len in [3, 30, file.len() / 2, file.len() - 2] {
            assert!(decode(&file[..len]).is_err(), "{len} of {} bytes", file.len());
        }
        let mut decoder = Decoder::new();
        assert!(decoder.decode(&file[..file.len() / 2]).is_err());
        decoder.decode(&file).unwrap();
        let fresh = decode(&file).unwrap();
        assert_eq!(decoder.pixels[..fresh.len()], fresh);
    }

    #[test]
    fn a_folder_is_not_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let error = Decoder::new().read(folder.path()).err().unwrap();
        assert!(matches!(error, DecodeError::Read(_)), "{error}");
    }

    #[test]
    fn a_picture_of_absurd_size_is_refused_before_it_is_decoded() {
        let mut file = fixture::jpeg(&fixture::picture(SIZE, 5), SIZE);
        let frame = file.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        file[frame + 5..frame + 9].copy_from_slice(&[0xff, 0x00, 0xff, 0x00]);
        assert!(matches!(decode(&file), Err(DecodeError::TooLarge { .. })));
    }
}
