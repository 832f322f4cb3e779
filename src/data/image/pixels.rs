//! Types shared by all image code: sizes, crops, decoded pixels and decode errors.

use std::io;

use thiserror::Error;

use crate::data::image::{importable::Importable, turbojpeg::Fault};

/// Height and width, px.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
}

/// A crop box of an image, px.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
}

impl Size {
    /// A square at the origin.
    pub fn square(image_size: usize) -> Self {
        Self { height: image_size, width: image_size }
    }
}

/// PIL's limit against decompression bombs, px.
pub(in crate::data) const MAX_PIXELS: usize = 178_956_970;

/// Why a file cannot be decoded. The caller adds the path.
#[derive(Debug, Error)]
pub(in crate::data) enum DecodeError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("not a JPEG or PNG but {0}")]
    NotImage(&'static str),
    #[error("not a JPEG or PNG but {} ({IMPORT_IT})", .0.name())]
    Importable(Importable),
    #[error("not a JPEG or PNG but {0} (convert it to JPEG or PNG)")]
    Foreign(&'static str),
    #[error("{format} of a kind that is not read: {why} (convert it to PNG)")]
    Refused { format: &'static str, why: String },
    #[error("a JPEG header without an image")]
    NoFrame,
    #[error("{width} x {height} px exceed the limit of {MAX_PIXELS} px")]
    TooLarge { width: usize, height: usize },
    #[error("{0}")]
    Damaged(String),
}

/// What to do with images that training does not read in place.
pub(in crate::data) const IMPORT_IT: &str =
    "import the data set and train from the store: mlperf-run data import DATA --out STORE";

impl DecodeError {
    pub(in crate::data) fn of(fault: Fault) -> Self {
        Self::Damaged(fault.message)
    }
}

/// A decoded image: `pixels` is RGB, `[height, width, 3]`.
#[derive(Clone, Copy)]
pub(in crate::data) struct DecodedImage<'a> {
    pub(in crate::data) pixels: &'a [u8],
    pub(in crate::data) width: usize,
    pub(in crate::data) height: usize,
}

impl DecodedImage<'_> {
    pub(in crate::data) fn size(&self) -> Size {
        Size { height: self.height, width: self.width }
    }
}

/// A crop box of an image.
#[derive(Clone, Copy)]
pub(in crate::data) struct View<'a> {
    pub(in crate::data) image: DecodedImage<'a>,
    pub(in crate::data) crop: Crop,
}

impl<'a> View<'a> {
    /// The whole image.
    pub(in crate::data) fn whole(image: DecodedImage<'a>) -> Self {
        let DecodedImage { height, width, .. } = image;
        Self { image, crop: Crop { top: 0, left: 0, height, width } }
    }

    /// Row `y` of the box, `[width * 3]`.
    pub(in crate::data) fn row(&self, y: usize) -> &'a [u8] {
        let start = ((self.crop.top + y) * self.image.width + self.crop.left) * 3;
        &self.image.pixels[start..start + self.crop.width * 3]
    }

    /// Copies the pixels of the box; `out` is `[height, width, 3]`.
    pub(in crate::data) fn copy_to(&self, out: &mut [u8]) {
        for (y, line) in out.chunks_exact_mut(self.crop.width * 3).enumerate() {
            line.copy_from_slice(self.row(y));
        }
    }
}
