//! Decodes files to RGB pixels: JPEG by libjpeg-turbo, PNG as a whole (`png`), pixmaps as they are.
//! Of a JPEG only the requested part is decoded, at 1/2, 1/4 or 1/8 scale if that is enough.
//! Buffers are reused from image to image.
//!
//! - A part is bit for bit equal to the same part of a whole decode. Chroma is interpolated over
//!   neighbours, so a margin of pixels around the part is decoded as well.
//! - Rows above the part cost only Huffman decoding, and rows below it nothing. A file with restart
//!   markers is first reduced to the intervals of the part (`restart_crop`).
//! - Decoding is strict: libjpeg-turbo's warnings (a truncated file, damaged entropy data) are
//!   errors, because it would fill the rest with grey. A file without an end marker is decoded
//!   whole to find out. Damage outside the part is found by `data import`, not here.
//! - EXIF orientation is not applied, as in torchvision.

#[cfg(test)]
mod tests;

use crate::data::image::pixels::{Crop, DecodeError, DecodedImage, MAX_PIXELS, Size, View};

use crate::data::image::{
    importable::Importable,
    png, ppm,
    restart_crop::{RestartCrop, RestartCropper},
    turbojpeg::{ColorComponents, Decompressor, Header, Region},
};

/// Margin of pixels around a part that the part depends on, with some to spare: chroma is
/// interpolated over one sample on each side, which is two pixels at half resolution.
const MARGIN: usize = 4;

/// Where pixels start in their buffer. libjpeg-turbo writes rows that start at multiples of 32
/// bytes past the caches, and the resize would then wait for memory.
const START: usize = 1;

/// The part of an image to decode.
#[derive(Clone, Copy)]
pub(in crate::data) struct Part {
    /// The crop box, px of the whole image.
    pub(in crate::data) crop: Crop,
    /// The scale denominator: 1, 2, 4 or 8.
    pub(in crate::data) denominator: usize,
}

/// A thread's decoder.
pub(in crate::data) struct Decoder {
    decompressor: Decompressor,
    cropper: RestartCropper,
    pixels: Vec<u8>,
    /// Size of the whole image in `pixels`, or of the decodable part of a damaged one.
    decoded: Option<Size>,
    /// A harmless warning of the last decode.
    warning: Option<String>,
}

impl Decoder {
    pub(in crate::data) fn new() -> Self {
        let (decompressor, cropper) = (Decompressor::new(), RestartCropper::default());
        Self { decompressor, cropper, pixels: Vec::new(), decoded: None, warning: None }
    }

    /// Size of a file's image, or an error if the file is not an image.
    pub(in crate::data) fn size(&mut self, file: &[u8]) -> Result<Size, DecodeError> {
        if let Some(image) = ppm::read(file)? {
            return Ok(image.size());
        }
        if png::is_png(file) {
            return png::size(file);
        }
        let Header { width, height, .. } = self.header(file)?;
        Ok(Size { height, width })
    }

    /// The color components in which pixels are stored; `None` if the file is not a JPEG.
    pub(in crate::data) fn components(&mut self, file: &[u8]) -> Option<ColorComponents> {
        self.header(file).ok().map(|header| header.components)
    }

    /// Size of a JPEG in which only the coefficients can be damaged: its colours and their
    /// subsampling are of the usual kinds.
    pub(in crate::data) fn plain_size(&mut self, file: &[u8]) -> Option<Size> {
        let Header { width, height, mcu, components } = self.header(file).ok()?;
        (mcu.is_some() && components == ColorComponents::UpToThree)
            .then_some(Size { height, width })
    }

    /// The last decoded JPEG, or what could be decoded of a damaged one.
    pub(in crate::data) fn decoded(&self) -> Option<DecodedImage<'_>> {
        let Size { height, width } = self.decoded?;
        Some(DecodedImage { pixels: &self.pixels[START..][..width * height * 3], width, height })
    }

    /// The decoder's warning about the last JPEG that was decoded, though it is whole.
    pub(in crate::data) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Decodes a whole image.
    pub(in crate::data) fn decode<'a>(
        &'a mut self,
        file: &'a [u8],
    ) -> Result<DecodedImage<'a>, DecodeError> {
        (self.decoded, self.warning) = (None, None);
        let Size { height, width } = self.size(file)?;
        let crop = Crop { top: 0, left: 0, height, width };
        Ok(self.decode_part(file, Part { crop, denominator: 1 })?.image)
    }

    /// Decodes a part of an image; of a JPEG, little more than the part.
    pub(in crate::data) fn decode_part<'a>(
        &'a mut self,
        file: &'a [u8],
        part: Part,
    ) -> Result<View<'a>, DecodeError> {
        if let Some(image) = ppm::read(file)? {
            return Ok(View { image, crop: part.crop });
        }
        if png::is_png(file) {
            self.decoded = None;
            let image = png::decode(file, &mut self.pixels)?;
            return Ok(View { image, crop: part.crop });
        }
        let whole = self.header(file)?;
        let size = Size { height: whole.height, width: whole.width };
        let mut crop = part.crop;
        let cropped = Some(file)
            .filter(|file| {
                has_end(file)
                    && whole.mcu.is_some()
                    && whole.components == ColorComponents::UpToThree
            })
            .and_then(|file| self.cropper.crop_intervals(file, around(crop, MARGIN, size)));
        let (file, header) = match cropped {
            Some(RestartCrop { file, top, left }) => {
                let header = self.decompressor.read_header(file).map_err(DecodeError::of)?;
                (crop.top, crop.left) = (crop.top - top, crop.left - left);
                (file, header.ok_or(DecodeError::NoFrame)?)
            }
            None => (file, whole),
        };
        let crop = scaled(crop, part.denominator, header);
        let region = region(crop, part.denominator, (header, has_end(file)));
        let bytes = region.width
            * region.height
            * if header.components == ColorComponents::Four { 4 } else { 3 };
        if self.pixels.len() < START + bytes {
            self.pixels.resize(START + bytes, 0);
        }
        let pixels = &mut self.pixels[START..][..bytes];
        let decoded = self.decompressor.decode((file, header), region, pixels);
        self.decoded = Some(Size { height: region.height, width: region.width });
        match decoded {
            Ok(warning) => self.warning = warning.map(|it| it.message),
            Err(fault) => {
                self.decoded
                    .take_if(|_| !fault.is_warning || header.components == ColorComponents::Four);
                return Err(DecodeError::of(fault));
            }
        }
        if header.components == ColorComponents::Four {
            cmyk_to_rgb(pixels);
        }
        let Region { left, top, width, height, .. } = region;
        let image =
            DecodedImage { pixels: &self.pixels[START..][..width * height * 3], width, height };
        let crop = Crop { top: crop.top - top, left: crop.left - left, ..crop };
        Ok(View { image, crop })
    }

    fn header(&mut self, file: &[u8]) -> Result<Header, DecodeError> {
        if file.is_empty() {
            return Err(DecodeError::Empty);
        }
        if !file.starts_with(&[0xff, 0xd8]) {
            return Err(not_an_image(file));
        }
        let header = self.decompressor.read_header(file).map_err(DecodeError::of)?;
        let header = header.ok_or(DecodeError::NoFrame)?;
        let Header { width, height, .. } = header;
        if width * height > MAX_PIXELS {
            return Err(DecodeError::TooLarge { width, height });
        }
        Ok(header)
    }
}

/// `crop` with a margin of `margin` pixels, clipped to the image.
fn around(crop: Crop, margin: usize, within: Size) -> Crop {
    let (top, left) = (crop.top.saturating_sub(margin), crop.left.saturating_sub(margin));
    let bottom = (crop.top + crop.height + margin).min(within.height);
    let right = (crop.left + crop.width + margin).min(within.width);
    Crop { top, left, height: bottom - top, width: right - left }
}

/// `crop` in pixels of the scaled image: the nearest box.
fn scaled(crop: Crop, denominator: usize, header: Header) -> Crop {
    if denominator == 1 {
        return crop;
    }
    let axis = |start: usize, length: usize, limit: usize| {
        let limit = limit.div_ceil(denominator);
        let near = |value: usize| (value + denominator / 2) / denominator;
        let start = near(start).min(limit - 1);
        (start, near(length).clamp(1, limit - start))
    };
    let (top, height) = axis(crop.top, crop.height, header.height);
    let (left, width) = axis(crop.left, crop.width, header.width);
    Crop { top, left, height, width }
}

/// The region to decode for `crop`, which is in pixels of the scaled image.
fn region(crop: Crop, denominator: usize, (header, has_end): (Header, bool)) -> Region {
    let width = header.width.div_ceil(denominator);
    let height = header.height.div_ceil(denominator);
    let whole = Region { left: 0, top: 0, width, height, denominator };
    let Some((mcu, _)) =
        header.mcu.filter(|_| has_end && header.components == ColorComponents::UpToThree)
    else {
        return whole;
    };
    let step = mcu.div_ceil(denominator);
    let wide = around(crop, MARGIN, Size { height, width });
    let left = wide.left / step * step;
    let right = (wide.left + wide.width).next_multiple_of(step).min(width);
    Region { left, top: wide.top, width: right - left, height: wide.height, denominator }
}

/// Whether a file ends with an end-of-image marker; zeros may follow.
fn has_end(file: &[u8]) -> bool {
    let end = file.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    file[..end].ends_with(&[0xff, 0xd9])
}

/// Works in place; the result fills three quarters of the buffer. It assumes that inks are stored
/// inverted, as Adobe's programs write them and PIL assumes: `R = C K / 255`.
fn cmyk_to_rgb(pixels: &mut [u8]) {
    for i in 0..pixels.len() / 4 {
        let black = u32::from(pixels[4 * i + 3]);
        for channel in 0..3 {
            let ink = u32::from(pixels[4 * i + channel]);
            pixels[3 * i + channel] = ((ink * black + 127) / 255) as u8;
        }
    }
}

/// Identifies a file that is not a JPEG or PNG by its first bytes.
fn not_an_image(file: &[u8]) -> DecodeError {
    const IMAGES: [(&[u8], &str); 5] = [
        (b"P5", "a PGM"),
        (b"\xff\x0a", "a JPEG XL"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    ];
    const OTHERS: [(&[u8], &str); 4] = [
        (b"\x1f\x8b", "a gzip archive"),
        (b"PK\x03\x04", "a zip archive"),
        (b"<", "HTML or XML"),
        (b"version https://git-lfs", "a Git LFS pointer"),
    ];
    let name_in = |known: &[(&[u8], &'static str)]| {
        known.iter().find(|(magic, _)| file.starts_with(magic)).map(|(_, name)| *name)
    };
    if let Some(format) = Importable::of(file) {
        return DecodeError::Importable(format);
    }
    let foreign = match file.get(4..12) {
        Some(b"ftypavif" | b"ftypavis") => Some("an AVIF"),
        Some(b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftypmsf1") => Some("a HEIC"),
        _ => name_in(&IMAGES),
    };
    match foreign {
        Some(name) => DecodeError::Foreign(name),
        None => DecodeError::NotImage(name_in(&OTHERS).unwrap_or("of an unknown format")),
    }
}
