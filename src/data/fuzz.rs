//! Entry points for the fuzz targets (`tests/fuzz`) into private readers. Compiled only with the
//! feature `fuzz`, which no shipped program enables.

use std::path::{Path, PathBuf};

use crate::data::{
    config::{Exif, OnBad},
    format::error::StoreError,
    image::{
        decode::{self, Part},
        pixels::{Crop, Size},
    },
    import::{parquet::unpacked, rewrite::Rewriter},
    index::{Index, cache},
};

/// The index in a cache file, if the file is valid.
pub fn load_index(file: &Path) -> Option<Index> {
    cache::load(file)
}

/// One thread's decoder.
pub struct Decoder(decode::Decoder);

/// Size of an image and its pixels, RGB `[height, width, 3]`.
pub type Pixels = (Size, Vec<u8>);

impl Decoder {
    /// A new decoder.
    #[expect(clippy::new_without_default, reason = "the fuzz targets need only `new`")]
    pub fn new() -> Self {
        Self(decode::Decoder::new())
    }

    /// Size of the image in a file.
    pub fn size(&mut self, file: &[u8]) -> Result<Size, String> {
        self.0.size(file).map_err(|error| error.to_string())
    }

    /// Decodes a whole image.
    pub fn decode(&mut self, file: &[u8]) -> Result<Pixels, String> {
        let image = self.0.decode(file).map_err(|error| error.to_string())?;
        Ok((image.size(), image.pixels.to_vec()))
    }

    /// Decodes a part of an image at a scale of 1 / `denominator`; the part must be within the
    /// image.
    pub fn decode_part(
        &mut self,
        file: &[u8],
        crop: Crop,
        denominator: usize,
    ) -> Result<Pixels, String> {
        let part = Part { crop, denominator };
        let view = self.0.decode_part(file, part).map_err(|error| error.to_string())?;
        let Crop { height, width, .. } = view.crop;
        let mut pixels = vec![0; height * width * 3];
        view.copy_to(&mut pixels);
        Ok((Size { height, width }, pixels))
    }
}

/// An image as a store holds it.
pub struct Rewritten {
    /// The file.
    pub file: Vec<u8>,
    /// Its size.
    pub size: Size,
    /// Whether it was re-encoded.
    pub is_reencoded: bool,
    /// Whether the source has an Exif orientation other than upright.
    pub has_orientation: bool,
}

/// Makes a store's file from an image, with sides of at most `max_side`.
pub fn rewrite(file: &[u8], max_side: Option<usize>, exif: Exif) -> Result<Rewritten, String> {
    let mut rewritten = Rewriter::new(OnBad::Reencode, exif).rewrite(file, &[max_side])?;
    let (file, size) = rewritten.files.pop().expect("one size was asked for");
    let (is_reencoded, has_orientation) =
        (rewritten.reencoded.is_some(), rewritten.has_orientation);
    Ok(Rewritten { file, size, is_reencoded, has_orientation })
}

/// Writes the Parquet files of `source` to `spool`.
pub fn unpack(source: &Path, spool: &Path) -> Result<PathBuf, StoreError> {
    unpacked(source, spool)
}
