//! Formats that `data import` rewrites and training does not read: WebP, BMP, TIFF and GIF.
//!
//! An image becomes what Pillow's `convert("RGB")` gives: of several frames or pages the first,
//! without transparency and color profiles, and a TIFF is turned by its orientation. Of 16-bit samples
//! the upper 8 bits are taken, as in PNGs. Around a GIF's frame that is smaller than its screen, the image
//! is black. TIFFs with a palette, with gray and transparency, or with floating-point numbers, whose range
//! is unknown, are refused.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
    error::UnsupportedErrorKind, metadata::Orientation,
};

use crate::data::image::pixels::{DecodeError, MAX_PIXELS};

/// Largest memory for the pixels of an image as its file has them, in bytes.
const MAX_BYTES: u64 = 4 * MAX_PIXELS as u64;

/// A format that only `data import` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Importable {
    WebP,
    Bmp,
    Tiff,
    Gif,
}

impl Importable {
    /// The format of a file, by its first bytes.
    pub(in crate::data) fn of(file: &[u8]) -> Option<Self> {
        const MAGIC: [(&[u8], Importable); 6] = [
            (b"GIF8", Importable::Gif),
            (b"BM", Importable::Bmp),
            (b"II*\0", Importable::Tiff),
            (b"MM\0*", Importable::Tiff),
            (b"II+\0", Importable::Tiff),
            (b"MM\0+", Importable::Tiff),
        ];
        if file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP") {
            return Some(Self::WebP);
        }
        MAGIC.iter().find(|(magic, _)| file.starts_with(magic)).map(|(_, format)| *format)
    }

    /// The format in words.
    pub(in crate::data) fn name(self) -> &'static str {
        match self {
            Self::WebP => "a WebP",
            Self::Bmp => "a BMP",
            Self::Tiff => "a TIFF",
            Self::Gif => "a GIF",
        }
    }

    /// Decodes a file of this format.
    pub(in crate::data) fn decode(self, file: &[u8]) -> Result<RgbImage, DecodeError> {
        let format = match self {
            Self::WebP => ImageFormat::WebP,
            Self::Bmp => ImageFormat::Bmp,
            Self::Tiff => ImageFormat::Tiff,
            Self::Gif => ImageFormat::Gif,
        };
        let mut reader = ImageReader::with_format(Cursor::new(file), format);
        let mut limits = Limits::no_limits();
        // The pixels, and as much again for what a decoder needs besides.
        limits.max_alloc = Some(2 * MAX_BYTES);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(|error| self.fault(&error))?;
        let (width, height) = decoder.dimensions();
        let bytes = decoder.total_bytes();
        let color = decoder.color_type();
        let channels = usize::from(color.channel_count());
        let bytes_per_sample = usize::from(color.bytes_per_pixel()) / channels;
        if bytes_per_sample > 2 {
            return Err(self.refused("its samples are floating-point numbers"));
        }
        if width as usize * height as usize > MAX_PIXELS {
            return Err(DecodeError::TooLarge { width: width as usize, height: height as usize });
        }
        if bytes > MAX_BYTES {
            return Err(self.refused("it takes more memory than an image may"));
        }
        let orientation = match self {
            Self::Tiff => decoder.orientation().map_err(|error| self.fault(&error))?,
            _ => Orientation::NoTransforms,
        };
        let mut samples = vec![0; bytes as usize];
        decoder.read_image(&mut samples).map_err(|error| self.fault(&error))?;
        // Samples of 16 bits have the machine's order of bytes.
        let upper = if cfg!(target_endian = "little") { bytes_per_sample - 1 } else { 0 };
        let rgb = if channels < 3 { [0; 3] } else { [0, 1, 2] };
        let pixels = samples.chunks_exact(channels * bytes_per_sample);
        let pixels = pixels.flat_map(|pixel| rgb.map(|it| pixel[it * bytes_per_sample + upper]));
        let pixels = RgbImage::from_raw(width, height, pixels.collect());
        let mut image = DynamicImage::ImageRgb8(pixels.expect("each pixel has three samples"));
        image.apply_orientation(orientation);
        Ok(image.into_rgb8())
    }

    fn fault(self, error: &ImageError) -> DecodeError {
        match error {
            ImageError::Unsupported(error) => match error.kind() {
                UnsupportedErrorKind::GenericFeature(what) => self.refused(&what),
                _ => self.refused("its samples are of another kind than gray, RGB or CMYK"),
            },
            ImageError::Limits(_) => self.refused("it takes more memory than an image may"),
            error => DecodeError::Damaged(error.to_string()),
        }
    }

    fn refused(self, why: &str) -> DecodeError {
        DecodeError::Refused { format: self.name(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::data::{
        fixture::{Damage, damage},
        image::decode::Decoder,
    };

    /// Images that Pillow wrote (`scripts/fixtures/images`).
    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images")
    }

    /// The images that are not turned, each with the pixels that Pillow reads.
    fn images() -> Vec<(String, Vec<u8>, Vec<u8>)> {
        let paths = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
        let names = paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        let images = names.filter(|name| !name.starts_with("exif")).filter_map(|name| {
            let file = fs::read(fixtures().join(&name)).ok()?;
            let pixels = fs::read(fixtures().join(format!("{name}.png"))).ok()?;
            Some((name, file, pixels))
        });
        images.collect()
    }

    fn decode(file: &[u8]) -> Result<RgbImage, DecodeError> {
        Importable::of(file).unwrap().decode(file)
    }

    #[test]
    fn images_have_the_pixels_that_pillow_reads() {
        let images = images();
        assert!(images.len() > 20, "only {} fixtures", images.len());
        for (name, file, expected) in images {
            let image = decode(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut decoder = Decoder::new();
            let expected = decoder.decode(&expected).unwrap();
            let size = (image.width() as usize, image.height() as usize);
            assert_eq!(size, (expected.width, expected.height), "{name}");
            if name == "frame.gif" {
                assert_eq!((image.get_pixel(27, 17).0, image.get_pixel(22, 0).0), ([0; 3], [0; 3]));
                let row = &image.as_raw()[..22 * 3];
                assert_eq!(row, &expected.pixels[..22 * 3], "its frame has 22 columns");
                continue;
            }
            let differences =
                image.as_raw().iter().zip(expected.pixels).map(|(a, b)| a.abs_diff(*b));
            // Printing inks are converted with another rounding.
            let allowed = u8::from(name == "cmyk.tif");
            let greatest = differences.max().unwrap();
            assert!(greatest <= allowed, "{name}: {greatest}");
        }
    }

    #[test]
    fn what_is_not_read_is_refused_by_name() {
        let error = |name: &str| {
            let file = fs::read(fixtures().join("refused").join(name)).unwrap();
            let error = decode(&file).unwrap_err();
            assert!(matches!(error, DecodeError::Refused { .. }), "{name}: {error}");
            error.to_string()
        };
        for (name, why) in [("palette.tif", "Palette"), ("float.tif", "gray"), ("la.tif", "gray")] {
            let error = error(name);
            assert!(error.starts_with("a TIFF of a kind that is not read: "), "{error}");
            assert!(error.contains(why) && error.ends_with("(convert it to PNG)"), "{error}");
        }
    }

    /// Headers of more pixels than an image may have, and of as many as it may have without the data.
    #[test]
    fn sizes_that_a_header_claims_are_limited() {
        let bmp = |width: i32, height: i32| {
            let head = [&b"BM"[..], &[0; 8], &54_u32.to_le_bytes(), &40_u32.to_le_bytes()].concat();
            let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
            [&head[..], &size, &[1, 0, 24, 0], &[0; 24]].concat()
        };
        assert!(matches!(decode(&bmp(60_000, 60_000)), Err(DecodeError::TooLarge { .. })));
        assert!(matches!(decode(&bmp(13_000, 13_000)), Err(DecodeError::Damaged(_))));
        let mut webp = fs::read(fixtures().join("animated.webp")).unwrap();
        // The size of the canvas, less one.
        webp[24..30].fill(0xff);
        assert!(decode(&webp).is_err());
    }

    proptest! {
        #[test]
        fn damaged_files_do_not_panic(damage in damage(), which in any::<prop::sample::Index>()) {
            let damage: Damage = damage;
            let images = images();
            let (_, file, _) = which.get(&images);
            // A damaged size may be allowed and slow.
            let mut file = file.clone();
            damage.apply(&mut file);
            if let Some(format) = Importable::of(&file)
                && let Ok(image) = format.decode(&file)
            {
                prop_assert_eq!(image.as_raw().len() % 3, 0);
            }
        }
    }
}
