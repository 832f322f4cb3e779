//! Operations of `RandAugment` on a row of bytes, as Pillow's `ImageOps` and `ImageEnhance` compute them.

use std::array::from_fn;

use crate::data::{
    rng::Rng,
    transform::{affine::Affine, augment::Augmentation},
};

/// A byte for each byte.
type Table = [u8; 256];

/// An operation with its strength.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::data) enum Operation {
    Identity,
    /// Stretches each channel to 0..255.
    AutoContrast,
    /// Makes the histogram of each channel level.
    Equalize,
    /// Keeps the highest bits.
    Posterize {
        bits: u32,
    },
    /// Inverts the bytes that reach the threshold.
    Solarize {
        threshold: f64,
    },
    /// Shears, shifts or rotates.
    Affine(Affine),
    /// Away from grey (above 1) or towards it.
    Color {
        factor: f32,
    },
    /// Away from the mean or towards it.
    Contrast {
        factor: f32,
    },
    /// Away from black or towards it.
    Brightness {
        factor: f32,
    },
    /// Away from the smoothed image or towards it.
    Sharpness {
        factor: f32,
    },
}

/// Augments rows. Its memory is reused.
#[derive(Default)]
pub(in crate::data) struct Augmenter {
    copy: Vec<u8>,
}

impl Augmenter {
    /// Applies random operations to `row`, RGB `[image_size, image_size, 3]`.
    pub(in crate::data) fn augment(
        &mut self,
        (augmentation, rng): (&Augmentation, &mut Rng),
        (image_size, row): (usize, &mut [u8]),
    ) {
        for _ in 0..augmentation.depth {
            self.apply(augmentation.draw(image_size, rng), (image_size, row));
        }
    }

    /// Applies one operation.
    pub(in crate::data) fn apply(
        &mut self,
        operation: Operation,
        (image_size, row): (usize, &mut [u8]),
    ) {
        match operation {
            Operation::Identity => {}
            Operation::AutoContrast => by_channel(row, stretch),
            Operation::Equalize => by_channel(row, level),
            Operation::Posterize { bits } => {
                let dropped = (0xff_u16 >> bits) as u8;
                look_up(row, &from_fn(|byte| byte as u8 & !dropped));
            }
            Operation::Solarize { threshold } => {
                let inverted =
                    |byte: usize| if (byte as f64) < threshold { byte } else { 255 - byte };
                look_up(row, &from_fn(|byte| inverted(byte) as u8));
            }
            Operation::Affine(affine) => affine.apply(self.copied(row), row, image_size),
            Operation::Color { factor } => {
                for pixel in row.chunks_exact_mut(3) {
                    let grey = grey(pixel);
                    for byte in pixel {
                        *byte = blend(grey, *byte, factor);
                    }
                }
            }
            Operation::Contrast { factor } => {
                let sum: u64 = row.chunks_exact(3).map(|pixel| u64::from(grey(pixel))).sum();
                let mean = (sum as f64 / (row.len() / 3) as f64 + 0.5) as u8;
                look_up(row, &from_fn(|byte| blend(mean, byte as u8, factor)));
            }
            Operation::Brightness { factor } => {
                look_up(row, &from_fn(|byte| blend(0, byte as u8, factor)));
            }
            Operation::Sharpness { factor } => sharpen(self.copied(row), row, image_size, factor),
        }
    }

    fn copied(&mut self, row: &[u8]) -> &[u8] {
        self.copy.clear();
        self.copy.extend_from_slice(row);
        &self.copy
    }
}

/// `from + factor (to - from)`, rounded down, within 0..=255.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // The conversion to bytes saturates.
    (f32::from(from) + factor * f32::from(i16::from(to) - i16::from(from))) as u8
}

/// Luma of an RGB pixel (ITU-R 601-2), in 16-bit fixed-point weights.
fn grey(pixel: &[u8]) -> u8 {
    let [r, g, b] = [0, 1, 2].map(|channel| u32::from(pixel[channel]));
    ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
}

fn look_up(row: &mut [u8], table: &Table) {
    for byte in row {
        *byte = table[usize::from(*byte)];
    }
}

/// Looks up each channel in the table that follows from its histogram.
fn by_channel(row: &mut [u8], table_of: impl Fn(&[u32; 256]) -> Table) {
    let mut counts = [[0_u32; 256]; 3];
    for pixel in row.chunks_exact(3) {
        for (counts, &byte) in counts.iter_mut().zip(pixel) {
            counts[usize::from(byte)] += 1;
        }
    }
    let tables: [Table; 3] = from_fn(|channel| table_of(&counts[channel]));
    for pixel in row.chunks_exact_mut(3) {
        for (table, byte) in tables.iter().zip(pixel) {
            *byte = table[usize::from(*byte)];
        }
    }
}

fn unchanged() -> Table {
    from_fn(|byte| byte as u8)
}

fn stretch(counts: &[u32; 256]) -> Table {
    let lowest = counts.iter().position(|&count| count > 0).unwrap_or(0);
    let highest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    if highest <= lowest {
        return unchanged();
    }
    let scale = 255.0 / (highest - lowest) as f64;
    let shift = -(lowest as f64) * scale;
    from_fn(|byte| (byte as f64 * scale + shift) as u8)
}

fn level(counts: &[u32; 256]) -> Table {
    let highest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    let step = (counts.iter().sum::<u32>() - counts[highest]) / 255;
    if step == 0 {
        return unchanged();
    }
    let mut sum = step / 2;
    from_fn(|byte| {
        let value = (sum / step).min(255) as u8;
        sum += counts[byte];
        value
    })
}

/// Blends with the image smoothed by `[1 1 1; 1 5 1; 1 1 1] / 13`. The border is not smoothed.
fn sharpen(source: &[u8], row: &mut [u8], image_size: usize, factor: f32) {
    let stride = image_size * 3;
    for y in 1..image_size.saturating_sub(1) {
        for at in y * stride + 3..(y + 1) * stride - 3 {
            let three = |at: usize| -> u32 {
                [at - 3, at, at + 3].map(|at| u32::from(source[at])).iter().sum()
            };
            let sum =
                three(at - stride) + three(at) + three(at + stride) + 4 * u32::from(source[at]);
            // Rounded to the nearest; thirteenths have no ties.
            let smooth = (2 * sum + 13) / 26;
            row[at] = blend(smooth as u8, source[at], factor);
        }
    }
}
