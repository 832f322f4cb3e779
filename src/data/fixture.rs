//! Small data sets for tests.

use std::{fs, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use crate::data::{image::pixels::Size, rng::Rng};

/// A smooth coloured image with some noise, RGB `[height, width, 3]`; `seed` sets its colours.
pub(in crate::data) fn image(size: Size, seed: u64) -> Vec<u8> {
    let mut rng = Rng::keyed(&[seed]);
    let base: [f64; 3] = std::array::from_fn(|_| rng.range_f64(40.0, 200.0));
    let mut pixels = Vec::with_capacity(size.height * size.width * 3);
    for y in 0..size.height {
        for x in 0..size.width {
            for base in base {
                pixels.push((base + ((x + 2 * y) % 40) as f64 + rng.range_f64(0.0, 4.0)) as u8);
            }
        }
    }
    pixels
}

/// RGB rows of `width` pixels, flipped horizontally.
pub(in crate::data) fn mirrored(pixels: &[u8], width: usize) -> Vec<u8> {
    let lines = pixels.chunks_exact(width * 3);
    lines.flat_map(|line| line.chunks_exact(3).rev()).flatten().copied().collect()
}

/// Compresses RGB pixels at quality 95 without chroma subsampling.
pub(in crate::data) fn jpeg(pixels: &[u8], size: Size) -> Vec<u8> {
    encode(pixels, size, PixelFormat::RGB, Subsamp::None)
}

/// Compresses pixels of any format at quality 95.
pub(in crate::data) fn encode(
    pixels: &[u8],
    size: Size,
    format: PixelFormat,
    subsamp: Subsamp,
) -> Vec<u8> {
    let Size { height, width } = size;
    let image = Image { pixels, width, pitch: width * format.size(), height, format };
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(95).unwrap();
    compressor.set_subsamp(subsamp).unwrap();
    compressor.compress_to_vec(image).unwrap()
}

/// A data set with the classes `a`, `b` and `c`, `num_train` and `num_eval` images each, of
/// different sizes.
pub(in crate::data) fn data_set(num_train: usize, num_eval: usize) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (split, num_images) in [("train", num_train), ("val", num_eval)] {
        for (label, class) in ["a", "b", "c"].into_iter().enumerate() {
            for i in 0..num_images {
                let size = Size { height: 24 + 3 * i, width: 40 - i };
                let pixels = image(size, (label * 100 + i) as u64);
                let path = root.path().join(split).join(class).join(format!("{i:03}.JPEG"));
                write(&path, &jpeg(&pixels, size));
            }
        }
    }
    root
}

/// Writes a file and creates its parent folders.
pub(in crate::data) fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Damage to a file: some bytes are replaced, words become extreme, and the end is cut off.
#[derive(Clone, Debug)]
pub(in crate::data) struct Damage {
    bytes: Vec<(usize, u8)>,
    words: Vec<(usize, u64)>,
    keep: usize,
}

/// Arbitrary damage.
pub(in crate::data) fn damage() -> impl Strategy<Value = Damage> {
    let extreme =
        prop_oneof![Just(u64::MAX), Just(1 << 63), Just(u64::from(u32::MAX)), any::<u64>()];
    (
        prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        prop::collection::vec((any::<usize>(), extreme), 0..3),
        prop_oneof![Just(usize::MAX), any::<usize>()],
    )
        .prop_map(|(bytes, words, keep)| Damage { bytes, words, keep })
}

impl Damage {
    /// Applies the damage; half of it falls in the first bytes, where headers are.
    pub(in crate::data) fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |number: usize, len: usize| match number % 2 {
            0 => (number / 2) % len.min(96),
            _ => (number / 2) % len,
        };
        for &(number, value) in &self.bytes {
            let place = place(number, bytes.len());
            bytes[place] = value;
        }
        for &(number, value) in &self.words {
            let place = place(number, bytes.len()).min(bytes.len() - 8);
            bytes[place..place + 8].copy_from_slice(&value.to_le_bytes());
        }
        if self.keep != usize::MAX {
            bytes.truncate(self.keep % (bytes.len() + 1));
        }
    }
}
