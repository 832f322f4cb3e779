//! One image on its way into a store: decoded, repaired where it is odd, rewritten.

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

/// Of images that are compressed anew: as good as what JPEG can hold without growing much.
const REPAIR_QUALITY: i32 = 96;
/// Of images that are shrunk, as in `FFCV`'s `ImageNet` files.
const SHRINK_QUALITY: i32 = 90;

/// One thread's tools.
pub(in crate::data) struct Rewriter {
    decoder: Decoder,
    transcoder: Transcoder,
    resizer: Resizer,
    small: Vec<u8>,
}

/// An image as it goes into the stores.
pub(in crate::data) struct Rewritten {
    /// One file for each size that was asked for.
    pub(in crate::data) files: Vec<(Vec<u8>, Size)>,
    /// Why it was compressed anew, if it was.
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

    /// The files of one image, none of whose sides exceeds `max_sides`; an error says why there
    /// can be none.
    pub(in crate::data) fn rewrite(
        &mut self,
        file: &[u8],
        max_sides: &[Option<usize>],
        on_bad: OnBad,
    ) -> Result<Rewritten, String> {
        // Rewriting decodes every coefficient, and after these come sums that cannot fail.
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
        let image = self.decoder.decoded().expect("decoded to see whether it is to be repaired");
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

    /// A plain JPEG of an image that is none, and why; nothing where the file is plain.
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

/// The size of an image whose long side is brought down to `max_side`; nothing where it is so.
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

/// MCUs between restart markers in an image of `width`, of MCUs `mcu` wide: a divisor of the
/// MCUs in a row, so that intervals lie in columns; of two as near the narrower. At 4:2:0 columns
/// near 32 px wide take 1.4 % more bytes than ones near 64 px and crops are cut from them about a
/// tenth faster; at 4:4:4 both are equal. A row without a fitting divisor is an interval of its own.
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
