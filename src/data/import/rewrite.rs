//! Prepares one image for a store: decodes it, repairs it if needed, and rewrites it.

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use crate::data::{
    config::{Interpolation, OnBad},
    image::{
        decode::Decoder,
        pixels::{DecodeError, Size, View},
        png,
        transcode::Transcoder,
        turbojpeg::ColorComponents,
    },
    transform::resize::{Resizer, Target},
};

/// JPEG quality of repaired images: close to the original without much larger files.
const REPAIR_QUALITY: i32 = 96;
/// JPEG quality of shrunk images, as in `FFCV`'s `ImageNet` files.
const SHRINK_QUALITY: i32 = 90;

/// A thread's decoder and encoders.
pub(in crate::data) struct Rewriter {
    decoder: Decoder,
    transcoder: Transcoder,
    resizer: Resizer,
    small: Vec<u8>,
}

/// An image as it is stored.
pub(in crate::data) struct Rewritten {
    /// One file for each requested size.
    pub(in crate::data) files: Vec<(Vec<u8>, Size)>,
    /// Why it was re-encoded, if it was.
    pub(in crate::data) repaired: Option<String>,
}

impl Rewriter {
    pub(in crate::data) fn new() -> Self {
        Self {
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
        on_bad: OnBad,
    ) -> Result<Rewritten, String> {
        // Transcoding decodes all coefficients; the steps after it are arithmetic that cannot fail.
        if *max_sides == [None]
            && let Some(size) = self.decoder.plain_size(file)
            && let Ok(restarted) = restart(&mut self.transcoder, file, size)
        {
            return Ok(Rewritten { files: vec![(restarted, size)], repaired: None });
        }
        let repaired = self.repair(file, on_bad)?;
        let (file, repaired) = match &repaired {
            Some((file, reason)) => {
                self.decoder.decode(file).map_err(|error| error.to_string())?;
                (file.as_slice(), Some(reason.clone()))
            }
            None => (file, None),
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
        Ok(Rewritten { files, repaired })
    }

    /// Re-encodes an image that is not a plain JPEG, and says why; `None` if the file is plain.
    fn repair(&mut self, file: &[u8], on_bad: OnBad) -> Result<Option<(Vec<u8>, String)>, String> {
        let how = (REPAIR_QUALITY, Subsamp::None);
        let components = self.decoder.components(file);
        match self.decoder.decode(file) {
            Ok(image) if components == Some(ColorComponents::Four) => {
                let jpeg = compress(image.pixels, image.size(), how)?;
                Ok(Some((jpeg, "CMYK".to_owned())))
            }
            Ok(image) if components.is_none() => {
                let jpeg = compress(image.pixels, image.size(), how)?;
                let is_png = png::is_png(file);
                let reason = if is_png { "a PNG" } else { "stored as pixels" };
                Ok(Some((jpeg, reason.to_owned())))
            }
            Ok(_) => Ok(None),
            Err(DecodeError::Damaged(reason)) if on_bad == OnBad::Reencode => {
                let image = self.decoder.decoded().ok_or_else(|| reason.clone())?;
                Ok(Some((compress(image.pixels, image.size(), how)?, reason)))
            }
            Err(error) => Err(error.to_string()),
        }
    }
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
