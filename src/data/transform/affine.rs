//! Affine maps of square rows, as Pillow computes them: each pixel of the result is read at
//! `matrix (x, y, 1)` of the source, and is black outside.

/// How the pixel at a place between pixels is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Sampling {
    Nearest,
    Bilinear,
}

/// A map from places in the result to places in the source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::data) struct Affine {
    /// `x' = m0 x + m1 y + m2`, `y' = m3 x + m4 y + m5`, px.
    pub matrix: [f64; 6],
    pub sampling: Sampling,
}

impl Affine {
    /// Rotation about the centre of a row, counter-clockwise.
    pub(in crate::data) fn rotation(degrees: f64, image_size: usize, sampling: Sampling) -> Self {
        let angle = -degrees.rem_euclid(360.0).to_radians();
        // Pillow rounds so, and so do we: a weight that is off by one bit can change a byte.
        let round = |x: f64| (x * 1e15).round_ties_even() / 1e15;
        let (cos, sin) = (round(angle.cos()), round(angle.sin()));
        let minus_sin = round(-angle.sin());
        let centre = image_size as f64 / 2.0;
        let x = cos * -centre + sin * -centre + 0.0 + centre;
        let y = minus_sin * -centre + cos * -centre + 0.0 + centre;
        Self { matrix: [cos, sin, x, minus_sin, cos, y], sampling }
    }

    /// Maps `source` to `row`, both RGB `[image_size, image_size, 3]`.
    pub(in crate::data) fn apply(&self, source: &[u8], row: &mut [u8], image_size: usize) {
        match self.sampling {
            Sampling::Nearest => self.nearest(source, row, image_size),
            Sampling::Bilinear => self.bilinear(source, row, image_size),
        }
    }

    /// In 16.16 fixed-point numbers, like Pillow.
    fn nearest(&self, source: &[u8], row: &mut [u8], image_size: usize) {
        let [a0, a1, a2, a3, a4, a5] = self.matrix;
        let fixed = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
        let [right_x, right_y] = [fixed(a0), fixed(a3)];
        let [down_x, down_y] = [fixed(a1), fixed(a4)];
        let [mut line_x, mut line_y] =
            [fixed(a2 + a0 * 0.5 + a1 * 0.5), fixed(a5 + a3 * 0.5 + a4 * 0.5)];
        let range = 0..image_size as i64;
        for line in row.chunks_exact_mut(image_size * 3) {
            let [mut x, mut y] = [line_x, line_y];
            for pixel in line.chunks_exact_mut(3) {
                let (at_x, at_y) = (x >> 16, y >> 16);
                if range.contains(&at_x) && range.contains(&at_y) {
                    let at = (at_y as usize * image_size + at_x as usize) * 3;
                    pixel.copy_from_slice(&source[at..at + 3]);
                } else {
                    pixel.fill(0);
                }
                x += right_x;
                y += right_y;
            }
            line_x += down_x;
            line_y += down_y;
        }
    }

    fn bilinear(&self, source: &[u8], row: &mut [u8], image_size: usize) {
        let [a0, a1, a2, a3, a4, a5] = self.matrix;
        let (length, last) = (image_size as f64, image_size - 1);
        for (line, out_y) in row.chunks_exact_mut(image_size * 3).zip(0_u32..) {
            let out_y = f64::from(out_y) + 0.5;
            let (down_x, down_y) = (a1 * out_y, a4 * out_y);
            for (pixel, out_x) in line.chunks_exact_mut(3).zip(0_u32..) {
                let out_x = f64::from(out_x) + 0.5;
                let x = a0 * out_x + down_x + a2;
                let y = a3 * out_x + down_y + a5;
                if !(0.0..length).contains(&x) || !(0.0..length).contains(&y) {
                    pixel.fill(0);
                    continue;
                }
                let ([x0, x1], right_share) = neighbours(x - 0.5, last);
                let ([y0, y1], low_share) = neighbours(y - 0.5, last);
                let at = |y: usize, x: usize| (y * image_size + x) * 3;
                let three = |at: usize| &source[at..at + 3];
                let [left, right] = [x0, x1].map(|x| three(at(y0, x)));
                let [low_left, low_right] = [x0, x1].map(|x| three(at(y1, x)));
                // Shears move along one axis only.
                if low_share == 0.0 || right_share == 0.0 {
                    let other = if low_share == 0.0 { right } else { low_left };
                    for channel in 0..3 {
                        let mixed = mix(left[channel], other[channel], right_share + low_share);
                        pixel[channel] = mixed as u8;
                    }
                    continue;
                }
                for channel in 0..3 {
                    let upper = mix(left[channel], right[channel], right_share);
                    let lower = mix(low_left[channel], low_right[channel], right_share);
                    pixel[channel] = (upper + (lower - upper) * low_share) as u8;
                }
            }
        }
    }
}

fn mix(a: u8, b: u8, share: f64) -> f64 {
    f64::from(a) + f64::from(i16::from(b) - i16::from(a)) * share
}

/// The pixels on both sides of `place`, of 0 to `last`, and the share of the second. Left of the first
/// pixel's centre, both are the first pixel. `place` is above -1.
fn neighbours(place: f64, last: usize) -> ([usize; 2], f64) {
    // By conversion, because the function that rounds down is a call on plain x86-64.
    let first = place as i32 - i32::from(place < 0.0);
    let second = (first + 1) as usize;
    ([first.max(0) as usize, second.min(last)], place - f64::from(first))
}
