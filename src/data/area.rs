//! `OpenCV`'s `INTER_AREA`, written from its definition: each output pixel is the mean of the
//! source area that it covers. Where either axis grows, both take two neighbours instead, with
//! weights that keep flat pixels flat. Agrees with `OpenCV` to +-1.
//!
//! Separable, and laid out for the compiler to vectorise: rows are combined byte by byte, columns
//! four lanes at a time.

use super::resize::{Target, View};

/// Slivers below this share of a pixel are left out, as `OpenCV` does.
const SLIVER: f64 = 1e-3;

/// Scratch of one thread.
#[derive(Default)]
pub(super) struct Area {
    rows: Taps,
    columns: Taps,
    /// One row after the vertical pass, `[source width * 3]`, and room for reads past its end.
    line: Vec<f32>,
    /// One row after both passes, `[target width * 3 + 1]`.
    sums: Vec<f32>,
}

impl Area {
    /// Fills `target` with `view`.
    pub(super) fn resize(&mut self, view: View<'_>, target: Target<'_>) {
        let (source, Target { pixels, size }) = (view.crop, target);
        let enlarges = size.height > source.height || size.width > source.width;
        let law = if enlarges { Taps::enlarge } else { Taps::shrink };
        law(&mut self.rows, source.height, size.height);
        law(&mut self.columns, source.width, size.width);
        let combine_columns = match self.columns.per_position {
            2 => combine_columns::<2>,
            3 => combine_columns::<3>,
            4 => combine_columns::<4>,
            5 => combine_columns::<5>,
            _ => combine_many_columns,
        };
        // What is left from other pictures in the room at the end meets weights of zero only.
        self.line.resize((source.width + self.columns.per_position) * 3 + 1, 0.0);
        self.sums.resize(size.width * 3 + 1, 0.0);
        let rows = pixels.chunks_exact_mut(size.width * 3);
        for (row, (first, weights)) in rows.zip(self.rows.iter()) {
            combine_rows(view, first, weights, &mut self.line[..source.width * 3]);
            combine_columns(&self.line, &self.columns, &mut self.sums);
            for (byte, &sum) in row.iter_mut().zip(&self.sums) {
                *byte = round(sum);
            }
        }
    }
}

/// `line` becomes the weighted sum of the rows of `view` from `first` on, two at a time.
fn combine_rows(view: View<'_>, first: usize, weights: &[f32], line: &mut [f32]) {
    for (pair, weights) in weights.chunks(2).enumerate() {
        let (weight_a, weight_b) = (weights[0], weights.get(1).copied().unwrap_or(0.0));
        if pair > 0 && weight_a == 0.0 {
            break;
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

/// For each output position of an axis: the first source position, and the weights from there on.
/// All positions have the same number of weights; the last ones may be zero and may belong to
/// positions past the end.
#[derive(Default)]
struct Taps {
    /// Weights of each position.
    per_position: usize,
    first: Vec<usize>,
    weights: Vec<f32>,
}

impl Taps {
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.first.iter().copied().zip(self.weights.chunks_exact(self.per_position))
    }

    /// Starts over, with up to `per_position` weights a position.
    fn clear(&mut self, per_position: usize) {
        self.per_position = per_position;
        self.first.clear();
        self.weights.clear();
    }

    /// Ends an output position, whose weights have been pushed.
    fn end_position(&mut self, first: usize) {
        self.first.push(first);
        self.weights.resize(self.first.len() * self.per_position, 0.0);
    }

    fn shrink(&mut self, source: usize, target: usize) {
        let scale = scale(source, target);
        self.clear(scale.ceil() as usize + 1);
        for position in 0..target {
            let start = position as f64 * scale;
            let end = (start + scale).min(source as f64);
            let whole_end = end.floor();
            let whole_start = start.ceil().min(whole_end);
            let mut first = whole_start as usize;
            let cell = end - start;
            if whole_start - start > SLIVER {
                first -= 1;
                self.weights.push(((whole_start - start) / cell) as f32);
            }
            for _ in whole_start as usize..whole_end as usize {
                self.weights.push((1.0 / cell) as f32);
            }
            if end - whole_end > SLIVER {
                self.weights.push(((end - whole_end) / cell) as f32);
            }
            self.end_position(first);
        }
    }

    fn enlarge(&mut self, source: usize, target: usize) {
        let inverse = target as f64 / source as f64;
        self.clear(2);
        for position in 0..target {
            let first = ((position as f64 * scale(source, target)) as usize).min(source - 1);
            // Single precision before the fraction is taken: a share of all but 1 becomes 0.
            let share = ((position + 1) as f64 - (first + 1) as f64 * inverse) as f32;
            let share = if share <= 0.0 || first + 1 == source { 0.0 } else { share.fract() };
            self.weights.extend([1.0 - share, share]);
            self.end_position(first);
        }
    }
}

/// Source positions per target position, in the roundings of `OpenCV`: which side of a whole
/// number a product falls on decides which pixel is taken.
fn scale(source: usize, target: usize) -> f64 {
    1.0 / (target as f64 / source as f64)
}
