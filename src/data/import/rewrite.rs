//! Prepares one image for a store: decodes it, turns and repairs it if needed, and rewrites it.

use image::{DynamicImage, RgbImage, metadata::Orientation};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use crate::data::{
    config::{Exif, Interpolation, OnBad},
    image::{
        decode::Decoder,
        exif::orientation,
        importable::Importable,
        pixels::{DecodeError, DecodedImage, Size, View},
        png,
        transcode::Transcoder,
        turbojpeg::ColorComponents,
    },
    transform::resize::{Resizer, Target},
};

/// JPEG quality of re-encoded images: close to the original without much larger files.
const REENCODE_QUALITY: i32 = 96;
/// JPEG quality of shrunk images, as in `FFCV`'s `ImageNet` files.
const SHRINK_QUALITY: i32 = 90;

/// A thread's decoder and encoders.
pub(in crate::data) struct Rewriter {
    on_bad: OnBad,
    exif: Exif,
    decoder: Decoder,
    transcoder: Transcoder,
    resizer: Resizer,
    small: Vec<u8>,
}

const CMYK: &str = "CMYK";
const PNG: &str = "a PNG";

/// Whether images that were re-encoded for `reason` keep the data set that of the rules: `ImageNet` has a
/// PNG and some CMYK images, which the reference re-encodes too.
pub(in crate::data) fn is_allowed_repair(reason: &str) -> bool {
    [CMYK, PNG].contains(&reason)
}

/// An image as it is stored.
pub(in crate::data) struct Rewritten {
    /// One file for each requested size.
    pub(in crate::data) files: Vec<(Vec<u8>, Size)>,
    /// Why it was re-encoded, if it was.
    pub(in crate::data) reencoded: Option<Reencoded>,
    /// Whether the source has an Exif orientation other than upright.
    pub(in crate::data) has_orientation: bool,
}

/// Why an image was re-encoded.
pub(in crate::data) enum Reencoded {
    /// It was not a plain JPEG.
    Repaired(String),
    /// Training does not read its format.
    Converted(Importable),
}

impl Rewriter {
    pub(in crate::data) fn new(on_bad: OnBad, exif: Exif) -> Self {
        Self {
            on_bad,
            exif,
            decoder: Decoder::new(),
            transcoder: Transcoder::new(),
            resizer: Resizer::default(),
            small: Vec::new(),
        }
    }

    /// The files of one image, none of whose sides exceeds `max_sides`, or why there are none.
    pub(in crate::data) fn rewrite(
        &mut self,
        file: &[u8],
        max_sides: &[Option<usize>],
    ) -> Result<Rewritten, String> {
        let orientation = orientation(file);
        let turn = orientation.filter(|_| self.exif == Exif::Apply);
        // A JPEG is turned without loss if its size allows it. The decoder knows the limit of sizes.
        let turned = turn.filter(|_| self.decoder.size(file).is_ok());
        let turned = turned.and_then(|turn| self.transcoder.turn(file, turn).ok());
        let rewritten = match &turned {
            Some(turned) => self.upright(turned, None, max_sides)?,
            None => self.upright(file, turn, max_sides)?,
        };
        Ok(Rewritten { has_orientation: orientation.is_some(), ..rewritten })
    }

    /// The same after a turn of the pixels.
    fn upright(
        &mut self,
        file: &[u8],
        turn: Option<Orientation>,
        max_sides: &[Option<usize>],
    ) -> Result<Rewritten, String> {
        // Transcoding decodes all coefficients; the steps after it are arithmetic that cannot fail.
        if turn.is_none()
            && *max_sides == [None]
            && let Some(size) = self.decoder.plain_size(file)
            && let Ok(restarted) = restart(&mut self.transcoder, file, size)
        {
            let files = vec![(restarted, size)];
            return Ok(Rewritten { files, reencoded: None, has_orientation: false });
        }
        let reencoded = self.reencode(file, turn)?;
        let file = match &reencoded {
            Some((file, _)) => {
                self.decoder.decode(file).map_err(|error| error.to_string())?;
                file.as_slice()
            }
            None => file,
        };
        let image = self.decoder.decoded().expect("decoded to check whether it needs repair");
        let size = image.size();
        let mut files = Vec::with_capacity(max_sides.len());
        for max_side in max_sides {
            let shrunk = max_side.and_then(|side| shrunk(size, side));
            files.push(match shrunk {
                None => (restart(&mut self.transcoder, file, size)?, size),
                Some(small) => {
                    self.small.resize(small.height * small.width * 3, 0);
                    let target = Target::new(&mut self.small, small);
                    self.resizer.resize(View::whole(image), Interpolation::Area, target);
                    let how = (SHRINK_QUALITY, Subsamp::Sub2x2);
                    let compressed = compress(&self.small, small, how)?;
                    (restart(&mut self.transcoder, &compressed, small)?, small)
                }
            });
        }
        let reencoded = reencoded.map(|(_, why)| why);
        Ok(Rewritten { files, reencoded, has_orientation: false })
    }

    /// Re-encodes an image that is not a plain JPEG or has to be turned, and says why; `None` if the
    /// file can stay.
    fn reencode(
        &mut self,
        file: &[u8],
        turn: Option<Orientation>,
    ) -> Result<Option<(Vec<u8>, Reencoded)>, String> {
        let repaired = |reason: &str| Some(Reencoded::Repaired(reason.to_owned()));
        if let Some(format) = Importable::of(file) {
            let image = format.decode(file).map_err(|error| error.to_string())?;
            let (width, height) = (image.width() as usize, image.height() as usize);
            let image = DecodedImage { pixels: image.as_raw(), width, height };
            return Ok(Some((reencoded(image, turn)?, Reencoded::Converted(format))));
        }
        let components = self.decoder.components(file);
        let (image, why) = match self.decoder.decode(file) {
            Ok(image) if components == Some(ColorComponents::Four) => (image, repaired(CMYK)),
            Ok(image) if components.is_none() => {
                let is_png = png::is_png(file);
                (image, repaired(if is_png { PNG } else { "stored as pixels" }))
            }
            Ok(image) => {
                let why = "turned; its size does not allow that without loss";
                (image, turn.and_then(|_| repaired(why)))
            }
            Err(DecodeError::Damaged(reason)) if self.on_bad == OnBad::Reencode => {
                let image = self.decoder.decoded().ok_or_else(|| reason.clone())?;
                (image, Some(Reencoded::Repaired(reason)))
            }
            Err(error) => return Err(error.to_string()),
        };
        why.map(|why| Ok((reencoded(image, turn)?, why))).transpose()
    }
}

/// An image as a JPEG after a turn.
fn reencoded(image: DecodedImage<'_>, turn: Option<Orientation>) -> Result<Vec<u8>, String> {
    let how = (REENCODE_QUALITY, Subsamp::None);
    let Some(turn) = turn else { return compress(image.pixels, image.size(), how) };
    let DecodedImage { pixels, width, height } = image;
    let pixels = RgbImage::from_raw(width as u32, height as u32, pixels.to_vec());
    let mut image = DynamicImage::ImageRgb8(pixels.expect("each pixel has three samples"));
    image.apply_orientation(turn);
    let size = Size { height: image.height() as usize, width: image.width() as usize };
    compress(image.as_bytes(), size, how)
}

/// The size of an image after its long side is reduced to `max_side`; `None` if it is not larger.
fn shrunk(size: Size, max_side: usize) -> Option<Size> {
    let long = size.height.max(size.width);
    let scale = |side: usize| ((side * max_side + long / 2) / long).max(1);
    (long > max_side).then(|| Size { height: scale(size.height), width: scale(size.width) })
}

/// The same coefficients with restart markers.
fn restart(transcoder: &mut Transcoder, file: &[u8], size: Size) -> Result<Vec<u8>, String> {
    let mcu = transcoder.mcu_width(file)?;
    transcoder.transcode(file, interval(size.width, mcu))
}

/// MCUs between restart markers in an image `width` wide, with MCUs `mcu` wide. It is a divisor of
/// the MCUs per row, so that intervals form columns; of two equally near, the narrower. At 4:2:0,
/// columns about 32 px wide take 1.4 % more bytes than columns about 64 px wide, and crops are
/// decoded about a tenth faster; at 4:4:4 both are equal. A row without a suitable divisor is one
/// interval.
fn interval(width: usize, mcu: usize) -> usize {
    let mcus_per_row = width.div_ceil(mcu);
    let widths = 16..=128;
    let divisors = (1..=mcus_per_row)
        .filter(|&num| mcus_per_row.is_multiple_of(num) && widths.contains(&(num * mcu)));
    divisors.min_by_key(|&num| (num * mcu).abs_diff(32)).unwrap_or(mcus_per_row)
}

fn compress(pixels: &[u8], size: Size, how: (i32, Subsamp)) -> Result<Vec<u8>, String> {
    let Size { height, width } = size;
    let image = Image { pixels, width, pitch: width * 3, height, format: PixelFormat::RGB };
    let compressed = Compressor::new().and_then(|mut compressor| {
        compressor.set_quality(how.0)?;
        compressor.set_subsamp(how.1)?;
        compressor.compress_to_vec(image)
    });
    compressed.map_err(|error| error.to_string())
}
