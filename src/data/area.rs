//! `OpenCV`'s `INTER_AREA`, written from its definition: each output pixel is the mean of the
//! source area that it covers. Where either axis grows, both take two neighbours instead, with
//! weights that keep flat pixels flat.
//!
//! Separable, rows first: the vertical pass runs over whole rows of bytes and vectorises. Results
//! agree with `OpenCV` to +-1, since it rounds its weights to 11 bits when enlarging.

use super::resize::{Target, View};

/// Slivers below this share of a pixel are left out, as `OpenCV` does.
const SLIVER: f64 = 1e-3;

/// Scratch of one thread.
#[derive(Default)]
pub(super) struct Area {
    rows: Taps,
    columns: Taps,
    /// One row of vertical means, `[width * 3 + 1]`; the last element pads four-wide reads.
    line: Vec<f32>,
}

impl Area {
    /// Fills `target` with `view`.
    pub(super) fn resize(&mut self, view: View<'_>, target: Target<'_>) {
        let (source, Target { pixels, size }) = (view.crop, target);
        let enlarges = size.height > source.height || size.width > source.width;
        let law = if enlarges { Taps::enlarge } else { Taps::shrink };
        law(&mut self.rows, source.height, size.height);
        law(&mut self.columns, source.width, size.width);
        self.line.clear();
        self.line.resize(source.width * 3 + 1, 0.0);
        for (row, (first, weights)) in pixels.chunks_exact_mut(size.width * 3).zip(self.rows.iter())
        {
            let line = &mut self.line[..source.width * 3];
            line.fill(0.0);
            for (y, &weight) in (first..).zip(weights) {
                for (sum, &byte) in line.iter_mut().zip(view.row(y)) {
                    *sum += weight * f32::from(byte);
                }
            }
            combine_columns(&self.line, &self.columns, row);
        }
    }
}

fn combine_columns(line: &[f32], columns: &Taps, row: &mut [u8]) {
    for (pixel, (first, weights)) in row.chunks_exact_mut(3).zip(columns.iter()) {
        // Four lanes for three channels: one vector operation a tap.
        let mut sum = [0.5f32; 4];
        for (source, &weight) in line[first * 3..].windows(4).step_by(3).zip(weights) {
            for (sum, &value) in sum.iter_mut().zip(source) {
                *sum += weight * value;
            }
        }
        for (byte, sum) in pixel.iter_mut().zip(sum) {
            *byte = sum as u8;
        }
    }
}

/// For each output position of an axis: the first source position and the weights from there on.
#[derive(Default)]
struct Taps {
    /// First source position, and where the weights end.
    spans: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

impl Taps {
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.spans.iter().scan(0, |start, &(first, end)| {
            let weights = &self.weights[*start..end];
            *start = end;
            Some((first, weights))
        })
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.weights.clear();
    }

    fn shrink(&mut self, source: usize, target: usize) {
        self.clear();
        let scale = source as f64 / target as f64;
        for position in 0..target {
            let start = position as f64 * scale;
            let end = (start + scale).min(source as f64);
            let (whole_start, whole_end) = (start.ceil(), end.floor());
            let cell = end - start;
            let mut first = whole_start as usize;
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
            self.spans.push((first, self.weights.len()));
        }
    }

    fn enlarge(&mut self, source: usize, target: usize) {
        self.clear();
        let (scale, inverse) = (source as f64 / target as f64, target as f64 / source as f64);
        for position in 0..target {
            let first = ((position as f64 * scale) as usize).min(source - 1);
            let share = (position + 1) as f64 - (first + 1) as f64 * inverse;
            let share = if share <= 0.0 { 0.0 } else { share.fract() };
            if share == 0.0 || first + 1 == source {
                self.weights.push(1.0);
            } else {
                self.weights.extend([1.0 - share as f32, share as f32]);
            }
            self.spans.push((first, self.weights.len()));
        }
    }
}
