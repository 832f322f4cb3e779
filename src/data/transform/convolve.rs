//! Resizes a box by weighted sums of its rows and of its columns ([`Taps`]).
//!
//! Laid out for the compiler to vectorise: rows are combined byte by byte; columns in four rows at a
//! time, which are woven into one another, so that a tap is one vector operation for all of them.
//! The passes are compiled for several processors, and the best for this one runs; all give the
//! same bits, as no sum is fused or reordered. Nothing is allocated once the buffers have grown.

#![expect(clippy::inline_always, reason = "what is inlined alone is compiled for each processor")]

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
/// Values of a pixel in that many rows, woven: `[3, ROWS]`.
const PIXEL: usize = 3 * ROWS;

/// Scratch of one thread.
#[derive(Default)]
pub(in crate::data) struct Convolution {
    rows: Taps,
    columns: Taps,
    /// Rows of the source or after the vertical pass.
    lines: [Vec<f32>; ROWS],
    /// The same, woven: `[width, 3, ROWS]`, and room for reads past its end.
    woven: Vec<f32>,
    /// Woven rows after the horizontal pass.
    bytes: Vec<u8>,
    /// An image between two passes, `[source height, target width, 3]`.
    between: Vec<u8>,
}

impl Convolution {
    /// By `OpenCV`'s `INTER_AREA`.
    pub(in crate::data) fn area(&mut self, view: View<'_>, target: Target<'_>) {
        let (source, size) = (view.crop, target.size);
        let enlarges = size.height > source.height || size.width > source.width;
        let law = if enlarges { Taps::enlarge } else { Taps::shrink };
        law(&mut self.rows, source.height, size.height);
        law(&mut self.columns, source.width, size.width);
        self.prepare(view, &target);
        rows_first(self, view, target);
    }

    /// By two neighbours, or more where the image shrinks.
    pub(in crate::data) fn bilinear(&mut self, view: View<'_>, target: Target<'_>) {
        self.filter(view, &target, Kernel::Triangle);
        rows_first(self, view, target);
    }

    /// Columns first, to bytes: a cubic overshoots, and what overshoots is cut off between the
    /// passes, as in Pillow 9.5; another order would show by up to 25 of 255.
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

    /// Turns known weights round where the target is mirrored, and makes room.
    fn prepare(&mut self, view: View<'_>, target: &Target<'_>) {
        if target.is_mirrored {
            self.columns.mirror();
        }
        self.lines.iter_mut().for_each(|line| line.resize(view.crop.width * 3, 0.0));
        // What is left from other images in the room at the end meets weights of zero only.
        let num_pixels = view.crop.width + self.columns.per_position;
        self.woven.resize(num_pixels * PIXEL, 0.0);
        self.bytes.resize(target.size.width * PIXEL, 0);
    }
}

/// Fills `target` by its rows, each from rows of `view` and then from columns of their sum.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn rows_first(convolution: &mut Convolution, view: View, target: Target) {
    let Convolution { rows, columns, lines, woven, bytes, .. } = convolution;
    let row_len = columns.first.len() * 3;
    let mut rows = rows.iter();
    for filled in target.pixels.chunks_mut(ROWS * row_len) {
        for (line, (first, weights)) in lines.iter_mut().zip(&mut rows) {
            combine_rows(view, first, weights, line);
        }
        weave(lines, woven);
        combine_columns(woven, columns, bytes, round);
        unweave(bytes, filled.chunks_exact_mut(row_len));
    }
}

/// Fills `target` from an image whose columns have been combined, to bytes, before.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn columns_first(convolution: &mut Convolution, view: View, target: Target) {
    let Convolution { rows, columns, lines, woven, bytes, between } = convolution;
    let width = columns.first.len();
    let mut source = (0..view.crop.height).map(|y| view.row(y));
    for filled in between.chunks_mut(ROWS * width * 3) {
        for (line, row) in lines.iter_mut().zip(&mut source) {
            line.iter_mut().zip(row).for_each(|(value, &byte)| *value = f32::from(byte));
        }
        weave(lines, woven);
        combine_columns(woven, columns, bytes, round_within);
        unweave(bytes, filled.chunks_exact_mut(width * 3));
    }
    let between = View::whole(DecodedImage { pixels: between, width, height: view.crop.height });
    let line = &mut lines[0];
    line.resize(width * 3, 0.0);
    for (row, (first, weights)) in target.pixels.chunks_exact_mut(width * 3).zip(rows.iter()) {
        combine_rows(between, first, weights, line);
        row.iter_mut().zip(&*line).for_each(|(byte, &value)| *byte = round_within(value));
    }
}

/// `woven` becomes `[width, 3, ROWS]`.
#[inline(always)]
fn weave(lines: &[Vec<f32>; ROWS], woven: &mut [f32]) {
    let (woven, _) = woven.as_chunks_mut::<ROWS>();
    let [a, b, c, d] = lines;
    for ((((woven, a), b), c), d) in woven.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *woven = [*a, *b, *c, *d];
    }
}

/// Takes rows apart again.
#[inline(always)]
fn unweave<'a>(woven: &[u8], rows: impl Iterator<Item = &'a mut [u8]>) {
    let (woven, _) = woven.as_chunks::<ROWS>();
    for (i, row) in rows.enumerate() {
        for (byte, woven) in row.iter_mut().zip(woven) {
            *byte = (u32::from_le_bytes(*woven) >> (8 * i)) as u8;
        }
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

/// `bytes` becomes the weighted sums of pixels of `woven`, unrolled where they are few.
#[inline(always)]
fn combine_columns(woven: &[f32], columns: &Taps, bytes: &mut [u8], to_byte: impl Fn(f32) -> u8) {
    match columns.per_position {
        2 => combine_few_columns::<2>(woven, columns, bytes, to_byte),
        3 => combine_few_columns::<3>(woven, columns, bytes, to_byte),
        4 => combine_few_columns::<4>(woven, columns, bytes, to_byte),
        5 => combine_few_columns::<5>(woven, columns, bytes, to_byte),
        6 => combine_few_columns::<6>(woven, columns, bytes, to_byte),
        7 => combine_few_columns::<7>(woven, columns, bytes, to_byte),
        8 => combine_few_columns::<8>(woven, columns, bytes, to_byte),
        _ => combine_many_columns(woven, columns, bytes, to_byte),
    }
}

/// `bytes` becomes the weighted sums of `TAPS` pixels of `woven` each: for all rows one vector
/// operation a tap.
#[inline(always)]
fn combine_few_columns<const TAPS: usize>(
    woven: &[f32],
    columns: &Taps,
    bytes: &mut [u8],
    to_byte: impl Fn(f32) -> u8,
) {
    let (weights, _) = columns.weights.as_chunks::<TAPS>();
    let (bytes, _) = bytes.as_chunks_mut::<PIXEL>();
    for ((bytes, &first), weights) in bytes.iter_mut().zip(&columns.first).zip(weights) {
        let pixels = &woven[first * PIXEL..][..TAPS * PIXEL];
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
    woven: &[f32],
    columns: &Taps,
    bytes: &mut [u8],
    to_byte: impl Fn(f32) -> u8,
) {
    let (pixels, _) = woven.as_chunks::<PIXEL>();
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

/// Rounds half to even, for values from 0 to 255: in floats from 2^23 to 2^24 the last bit of the
/// mantissa counts ones. Faster than a conversion, which would have to saturate.
#[inline(always)]
fn round(value: f32) -> u8 {
    (value + 8_388_608.0).to_bits() as u8
}

/// The same for any value: what lies outside is cut off.
#[inline(always)]
fn round_within(value: f32) -> u8 {
    round(value.clamp(0.0, 255.0))
}
