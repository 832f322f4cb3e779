//! Resizes a box by weighted sums of its rows and of its columns ([`Taps`]).
//!
//! Laid out for the compiler to vectorise: rows are combined byte by byte, columns four lanes at a
//! time. The passes are compiled for several processors, and the best for this one runs; all give
//! the same bits, as no sum is fused or reordered. Nothing is allocated once the buffers have grown.

#![expect(clippy::inline_always, reason = "what is inlined alone is compiled for each processor")]

use multiversion::multiversion;

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
        columns_first(self, view, pixels);
    }

    fn rows_first(&mut self, view: View<'_>, Target { pixels, size }: Target<'_>) {
        self.make_room(view.crop.width, size.width);
        rows_first(self, view, pixels);
    }

    fn make_room(&mut self, source_width: usize, target_width: usize) {
        // What is left from other pictures in the room at the end meets weights of zero only.
        self.line.resize((source_width + self.columns.per_position) * 3 + 1, 0.0);
        self.sums.resize(target_width * 3 + 1, 0.0);
    }
}

/// Fills `pixels` by its rows, each from rows of `view` and then from columns of their sum.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn rows_first(convolution: &mut Convolution, view: View, pixels: &mut [u8]) {
    let Convolution { rows, columns, line, sums, .. } = convolution;
    let filled = pixels.chunks_exact_mut(columns.first.len() * 3);
    for (row, (first, weights)) in filled.zip(rows.iter()) {
        combine_rows(view, first, weights, &mut line[..view.crop.width * 3]);
        combine_columns(line, columns, sums);
        for (byte, &sum) in row.iter_mut().zip(sums.iter()) {
            *byte = round(sum);
        }
    }
}

/// Fills `pixels` from a picture whose columns have been combined, to bytes, before.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn columns_first(convolution: &mut Convolution, view: View, pixels: &mut [u8]) {
    let Convolution { rows, columns, line, sums, between } = convolution;
    let width = columns.first.len();
    for (y, row) in between.chunks_exact_mut(width * 3).enumerate() {
        line.iter_mut().zip(view.row(y)).for_each(|(value, &byte)| *value = f32::from(byte));
        combine_columns(line, columns, sums);
        write(row, sums);
    }
    let between = View::whole(Picture { pixels: between, width, height: view.crop.height });
    for (row, (first, weights)) in pixels.chunks_exact_mut(width * 3).zip(rows.iter()) {
        let line = &mut sums[..width * 3];
        combine_rows(between, first, weights, line);
        write(row, line);
    }
}

/// Rounds a row whose values may lie outside of bytes.
#[inline(always)]
fn write(row: &mut [u8], values: &[f32]) {
    for (byte, value) in row.iter_mut().zip(values) {
        *byte = round(value.clamp(0.0, 255.0));
    }
}

/// `line` becomes the weighted sum of the rows of `view` from `first` on, two at a time.
#[inline(always)]
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

/// `sums` becomes the weighted sums of pixels of `line`, unrolled where they are few.
#[inline(always)]
fn combine_columns(line: &[f32], columns: &Taps, sums: &mut [f32]) {
    match columns.per_position {
        2 => combine_few_columns::<2>(line, columns, sums),
        3 => combine_few_columns::<3>(line, columns, sums),
        4 => combine_few_columns::<4>(line, columns, sums),
        5 => combine_few_columns::<5>(line, columns, sums),
        6 => combine_few_columns::<6>(line, columns, sums),
        7 => combine_few_columns::<7>(line, columns, sums),
        8 => combine_few_columns::<8>(line, columns, sums),
        _ => combine_many_columns(line, columns, sums),
    }
}

/// `sums` becomes the weighted sums of `TAPS` pixels of `line` each.
///
/// Four lanes for three channels: one vector operation a tap. What the fourth lane leaves behind
/// is overwritten by the next pixel.
#[inline(always)]
fn combine_few_columns<const TAPS: usize>(line: &[f32], columns: &Taps, sums: &mut [f32]) {
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
#[inline(always)]
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
#[inline(always)]
fn round(value: f32) -> u8 {
    (value + 8_388_608.0).to_bits() as u8
}
