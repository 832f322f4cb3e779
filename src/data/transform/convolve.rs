//! Resizes a crop box by weighted sums of its rows and of its columns ([`Taps`]).
//!
//! The code is laid out for auto-vectorization: rows are combined byte by byte, and columns in four
//! interleaved rows at a time, so that a tap is one vector operation for all four. The passes are
//! compiled for several instruction sets, and the best one for this CPU runs. All give the same
//! bits, because no sum is fused or reordered. Nothing is allocated once the buffers have grown.

#![expect(clippy::inline_always, reason = "only inlined code is compiled for each instruction set")]

use multiversion::multiversion;

use crate::data::{
    image::pixels::{DecodedImage, View},
    transform::{
        resize::Target,
        weights::{Kernel, Taps},
    },
};

/// Rows whose columns are combined at a time.
const ROWS: usize = 4;
/// Values of a pixel in that many interleaved rows: `[3, ROWS]`.
const PIXEL: usize = 3 * ROWS;

/// A thread's scratch memory.
#[derive(Default)]
pub(in crate::data) struct Convolution {
    rows: Taps,
    columns: Taps,
    /// Rows of the source, or rows after the vertical pass.
    lines: [Vec<f32>; ROWS],
    /// The same, interleaved: `[width, 3, ROWS]`, with spare capacity for reads past the end.
    interleaved: Vec<f32>,
    /// Interleaved rows after the horizontal pass.
    bytes: Vec<u8>,
    /// The image between two passes, `[source height, target width, 3]`.
    between: Vec<u8>,
}

impl Convolution {
    /// Resizes like `OpenCV`'s `INTER_AREA`.
    pub(in crate::data) fn area(&mut self, view: View<'_>, target: Target<'_>) {
        let (source, size) = (view.crop, target.size);
        let enlarges = size.height > source.height || size.width > source.width;
        let set_weights = if enlarges { Taps::enlarge } else { Taps::shrink };
        set_weights(&mut self.rows, source.height, size.height);
        set_weights(&mut self.columns, source.width, size.width);
        self.prepare(view, &target);
        rows_first(self, view, target);
    }

    /// Bilinear: two neighbours, or more if the image shrinks.
    pub(in crate::data) fn bilinear(&mut self, view: View<'_>, target: Target<'_>) {
        self.filter(view, &target, Kernel::Triangle);
        rows_first(self, view, target);
    }

    /// Bicubic: columns first, to bytes. A cubic kernel overshoots, and the overshoot is clamped
    /// between the passes, as in Pillow 9.5; the other order differs by up to 25 of 255.
    pub(in crate::data) fn bicubic(&mut self, view: View<'_>, target: Target<'_>) {
        self.filter(view, &target, Kernel::Cubic);
        self.between.resize(view.crop.height * target.size.width * 3, 0);
        columns_first(self, view, target);
    }

    fn filter(&mut self, view: View<'_>, target: &Target<'_>, kernel: Kernel) {
        self.rows.filter(view.crop.height, target.size.height, kernel);
        self.columns.filter(view.crop.width, target.size.width, kernel);
        self.prepare(view, target);
    }

    /// Reverses the weights if the target is mirrored, and resizes the buffers.
    fn prepare(&mut self, view: View<'_>, target: &Target<'_>) {
        if target.is_mirrored {
            self.columns.mirror();
        }
        self.lines.iter_mut().for_each(|line| line.resize(view.crop.width * 3, 0.0));
        // Values left over from other images at the end of the buffer are multiplied by zero
        // weights only.
        let num_pixels = view.crop.width + self.columns.per_position;
        self.interleaved.resize(num_pixels * PIXEL, 0.0);
        self.bytes.resize(target.size.width * PIXEL, 0);
    }
}

/// Fills `target` row by row: combines rows of `view`, then columns of the sum.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn rows_first(convolution: &mut Convolution, view: View, target: Target) {
    let Convolution { rows, columns, lines, interleaved, bytes, .. } = convolution;
    let row_len = columns.first.len() * 3;
    let mut rows = rows.iter();
    for filled in target.pixels.chunks_mut(ROWS * row_len) {
        for (line, (first, weights)) in lines.iter_mut().zip(&mut rows) {
            combine_rows(view, first, weights, line);
        }
        interleave(lines, interleaved);
        combine_columns(interleaved, columns, bytes, round);
        deinterleave(bytes, filled.chunks_exact_mut(row_len));
    }
}

/// Fills `target` from an image whose columns have already been combined to bytes.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn columns_first(convolution: &mut Convolution, view: View, target: Target) {
    let Convolution { rows, columns, lines, interleaved, bytes, between } = convolution;
    let width = columns.first.len();
    let mut source = (0..view.crop.height).map(|y| view.row(y));
    for filled in between.chunks_mut(ROWS * width * 3) {
        for (line, row) in lines.iter_mut().zip(&mut source) {
            line.iter_mut().zip(row).for_each(|(value, &byte)| *value = f32::from(byte));
        }
        interleave(lines, interleaved);
        combine_columns(interleaved, columns, bytes, round_within);
        deinterleave(bytes, filled.chunks_exact_mut(width * 3));
    }
    let between = View::whole(DecodedImage { pixels: between, width, height: view.crop.height });
    let line = &mut lines[0];
    line.resize(width * 3, 0.0);
    for (row, (first, weights)) in target.pixels.chunks_exact_mut(width * 3).zip(rows.iter()) {
        combine_rows(between, first, weights, line);
        row.iter_mut().zip(&*line).for_each(|(byte, &value)| *byte = round_within(value));
    }
}

/// Interleaves lines: `interleaved` becomes `[width, 3, ROWS]`.
#[inline(always)]
fn interleave(lines: &[Vec<f32>; ROWS], interleaved: &mut [f32]) {
    let (interleaved, _) = interleaved.as_chunks_mut::<ROWS>();
    let [a, b, c, d] = lines;
    for ((((interleaved, a), b), c), d) in interleaved.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *interleaved = [*a, *b, *c, *d];
    }
}

/// Separates interleaved rows.
#[inline(always)]
fn deinterleave<'a>(interleaved: &[u8], rows: impl Iterator<Item = &'a mut [u8]>) {
    let (interleaved, _) = interleaved.as_chunks::<ROWS>();
    for (i, row) in rows.enumerate() {
        for (byte, interleaved) in row.iter_mut().zip(interleaved) {
            *byte = (u32::from_le_bytes(*interleaved) >> (8 * i)) as u8;
        }
    }
}

/// `line` becomes the weighted sum of the rows of `view` starting at `first`, two at a time.
#[inline(always)]
fn combine_rows(view: View<'_>, first: usize, weights: &[f32], line: &mut [f32]) {
    for (pair, weights) in weights.chunks(2).enumerate() {
        let (weight_a, weight_b) = (weights[0], weights.get(1).copied().unwrap_or(0.0));
        if pair > 0 && weight_a == 0.0 && weight_b == 0.0 {
            continue;
        }
        let y = first + 2 * pair;
        // A row without a partner is paired with itself at zero weight.
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

/// `bytes` becomes the weighted sums of pixels of `interleaved`, unrolled if the taps are few.
#[inline(always)]
fn combine_columns(
    interleaved: &[f32],
    columns: &Taps,
    bytes: &mut [u8],
    to_byte: impl Fn(f32) -> u8,
) {
    match columns.per_position {
        2 => combine_few_columns::<2>(interleaved, columns, bytes, to_byte),
        3 => combine_few_columns::<3>(interleaved, columns, bytes, to_byte),
        4 => combine_few_columns::<4>(interleaved, columns, bytes, to_byte),
        5 => combine_few_columns::<5>(interleaved, columns, bytes, to_byte),
        6 => combine_few_columns::<6>(interleaved, columns, bytes, to_byte),
        7 => combine_few_columns::<7>(interleaved, columns, bytes, to_byte),
        8 => combine_few_columns::<8>(interleaved, columns, bytes, to_byte),
        _ => combine_many_columns(interleaved, columns, bytes, to_byte),
    }
}

/// `bytes` becomes the weighted sums of `TAPS` pixels of `interleaved` each: one vector
/// operation per tap for all rows.
#[inline(always)]
fn combine_few_columns<const TAPS: usize>(
    interleaved: &[f32],
    columns: &Taps,
    bytes: &mut [u8],
    to_byte: impl Fn(f32) -> u8,
) {
    let (weights, _) = columns.weights.as_chunks::<TAPS>();
    let (bytes, _) = bytes.as_chunks_mut::<PIXEL>();
    for ((bytes, &first), weights) in bytes.iter_mut().zip(&columns.first).zip(weights) {
        let pixels = &interleaved[first * PIXEL..][..TAPS * PIXEL];
        let mut sums = [0.0; PIXEL];
        for lane in 0..PIXEL {
            sums[lane] = weights[0] * pixels[lane];
        }
        for tap in 1..TAPS {
            for lane in 0..PIXEL {
                sums[lane] += weights[tap] * pixels[tap * PIXEL + lane];
            }
        }
        bytes.iter_mut().zip(sums).for_each(|(byte, sum)| *byte = to_byte(sum));
    }
}

/// The same for any number of taps, which cannot be unrolled.
#[inline(always)]
fn combine_many_columns(
    interleaved: &[f32],
    columns: &Taps,
    bytes: &mut [u8],
    to_byte: impl Fn(f32) -> u8,
) {
    let (pixels, _) = interleaved.as_chunks::<PIXEL>();
    let (bytes, _) = bytes.as_chunks_mut::<PIXEL>();
    for (bytes, (first, weights)) in bytes.iter_mut().zip(columns.iter()) {
        let mut sums = [0.0; PIXEL];
        for (pixel, weight) in pixels[first..].iter().zip(weights) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += weight * value;
            }
        }
        bytes.iter_mut().zip(sums).for_each(|(byte, sum)| *byte = to_byte(sum));
    }
}

/// Rounds half to even, for values from 0 to 255: in floats from 2^23 to 2^24, the last bit of the
/// mantissa has the value one. This is faster than a saturating conversion.
#[inline(always)]
fn round(value: f32) -> u8 {
    (value + 8_388_608.0).to_bits() as u8
}

/// The same for any value, clamped to the range of a byte.
#[inline(always)]
fn round_within(value: f32) -> u8 {
    round(value.clamp(0.0, 255.0))
}
