//! Resizes a box by weighted sums of its rows and of its columns ([`Taps`]).
//!
//! Laid out for the compiler to vectorise: rows are combined byte by byte, columns four lanes at a
//! time. Nothing is allocated once the buffers have grown.

use super::augment::Size;
use super::decode::Picture;
use super::resize::{Target, View};
use super::taps::{Kernel, Taps};

/// Scratch of one thread.
#[derive(Default)]
pub(super) struct Convolution {
    rows: Taps,
    columns: Taps,
    /// One row of the source or after the vertical pass, and room for reads past its end.
    line: Vec<f32>,
    /// One row after the horizontal pass, `[target width * 3 + 1]`.
    sums: Vec<f32>,
    /// A picture between two passes, `[source height, target width, 3]`.
    between: Vec<u8>,
}

impl Convolution {
    /// By `OpenCV`'s `INTER_AREA`.
    pub(super) fn area(&mut self, view: View<'_>, target: Target<'_>) {
        let (source, size) = (view.crop, target.size);
        let enlarges = size.height > source.height || size.width > source.width;
        let law = if enlarges { Taps::enlarge } else { Taps::shrink };
        law(&mut self.rows, source.height, size.height);
        law(&mut self.columns, source.width, size.width);
        self.rows_first(view, target);
    }

    /// By two neighbours, or more where the picture shrinks.
    pub(super) fn bilinear(&mut self, view: View<'_>, target: Target<'_>) {
        self.rows.filter(view.crop.height, target.size.height, Kernel::Triangle);
        self.columns.filter(view.crop.width, target.size.width, Kernel::Triangle);
        self.rows_first(view, target);
    }

    /// Columns first, to bytes: a cubic overshoots, and what overshoots is cut off between the
    /// passes, as in Pillow 9.5; another order would show by up to 25 of 255.
    pub(super) fn bicubic(&mut self, view: View<'_>, Target { pixels, size }: Target<'_>) {
        let source = view.crop;
        self.rows.filter(source.height, size.height, Kernel::Cubic);
        self.columns.filter(source.width, size.width, Kernel::Cubic);
        self.make_room(source.width, size.width);
        self.between.resize(source.height * size.width * 3, 0);
        let combine_columns = combine_columns_of(self.columns.per_position);
        for (y, row) in self.between.chunks_exact_mut(size.width * 3).enumerate() {
            let line = self.line.iter_mut().zip(view.row(y));
            line.for_each(|(value, &byte)| *value = f32::from(byte));
            combine_columns(&self.line, &self.columns, &mut self.sums);
            write(row, &self.sums);
        }
        let (height, width) = (source.height, size.width);
        let between = View::whole(Picture { pixels: &self.between, width, height });
        let rows = pixels.chunks_exact_mut(size.width * 3);
        for (row, (first, weights)) in rows.zip(self.rows.iter()) {
            let line = &mut self.sums[..size.width * 3];
            combine_rows(between, first, weights, line);
            write(row, line);
        }
    }

    fn rows_first(&mut self, view: View<'_>, Target { pixels, size }: Target<'_>) {
        let Size { width, .. } = size;
        self.make_room(view.crop.width, width);
        let combine_columns = combine_columns_of(self.columns.per_position);
        let rows = pixels.chunks_exact_mut(width * 3);
        for (row, (first, weights)) in rows.zip(self.rows.iter()) {
            combine_rows(view, first, weights, &mut self.line[..view.crop.width * 3]);
            combine_columns(&self.line, &self.columns, &mut self.sums);
            for (byte, &sum) in row.iter_mut().zip(&self.sums) {
                *byte = round(sum);
            }
        }
    }

    fn make_room(&mut self, source_width: usize, target_width: usize) {
        // What is left from other pictures in the room at the end meets weights of zero only.
        self.line.resize((source_width + self.columns.per_position) * 3 + 1, 0.0);
        self.sums.resize(target_width * 3 + 1, 0.0);
    }
}

/// Rounds a row whose values may lie outside of bytes.
fn write(row: &mut [u8], values: &[f32]) {
    for (byte, value) in row.iter_mut().zip(values) {
        *byte = round(value.clamp(0.0, 255.0));
    }
}

/// Sums of columns for so many weights a position, unrolled where they are few.
fn combine_columns_of(per_position: usize) -> fn(&[f32], &Taps, &mut [f32]) {
    match per_position {
        2 => combine_columns::<2>,
        3 => combine_columns::<3>,
        4 => combine_columns::<4>,
        5 => combine_columns::<5>,
        6 => combine_columns::<6>,
        7 => combine_columns::<7>,
        8 => combine_columns::<8>,
        _ => combine_many_columns,
    }
}

/// `line` becomes the weighted sum of the rows of `view` from `first` on, two at a time.
fn combine_rows(view: View<'_>, first: usize, weights: &[f32], line: &mut [f32]) {
    for (pair, weights) in weights.chunks(2).enumerate() {
        let (weight_a, weight_b) = (weights[0], weights.get(1).copied().unwrap_or(0.0));
        if pair > 0 && weight_a == 0.0 && weight_b == 0.0 {
            continue;
        }
        let y = first + 2 * pair;
        // A row without a partner pairs up with itself, at no weight.
        let (a, b) = (view.row(y), view.row(if weight_b == 0.0 { y } else { y + 1 }));
        let mean = |a: u8, b: u8| weight_a * f32::from(a) + weight_b * f32::from(b);
        let sums = line.iter_mut().zip(a.iter().zip(b));
        if pair == 0 {
            sums.for_each(|(sum, (&a, &b))| *sum = mean(a, b));
        } else {
            sums.for_each(|(sum, (&a, &b))| *sum += mean(a, b));
        }
    }
}

/// `sums` becomes the weighted sums of `TAPS` pixels of `line` each.
///
/// Four lanes for three channels: one vector operation a tap. What the fourth lane leaves behind
/// is overwritten by the next pixel.
fn combine_columns<const TAPS: usize>(line: &[f32], columns: &Taps, sums: &mut [f32]) {
    let (weights, _) = columns.weights.as_chunks::<TAPS>();
    for (x, (&first, weights)) in columns.first.iter().zip(weights).enumerate() {
        let pixels = &line[first * 3..][..=TAPS * 3];
        let mut sum = [0.0; 4];
        for tap in 0..TAPS {
            for lane in 0..4 {
                sum[lane] += weights[tap] * pixels[tap * 3 + lane];
            }
        }
        sums[x * 3..][..4].copy_from_slice(&sum);
    }
}

/// The same for any number of taps, which cannot be unrolled.
fn combine_many_columns(line: &[f32], columns: &Taps, sums: &mut [f32]) {
    for (x, (first, weights)) in columns.iter().enumerate() {
        let mut sum = [0.0; 4];
        for (pixel, weight) in line[first * 3..].windows(4).step_by(3).zip(weights) {
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += weight * value;
            }
        }
        sums[x * 3..][..4].copy_from_slice(&sum);
    }
}

/// Rounds half to even, for values from 0 to 255: in floats from 2^23 to 2^24 the last bit of the
/// mantissa counts ones. Faster than a conversion, which would have to saturate.
fn round(value: f32) -> u8 {
    (value + 8_388_608.0).to_bits() as u8
}
