//! The canvas of an image: three float planes, luma first, filled row by row.
//!
//! Every loop over pixels runs along a row over slices of one length, and contains only additions,
//! multiplications, at most one square root and no branch, so that the compiler vectorizes it.

use crate::data::rng::Rng;
use crate::data::synth::noise::{FieldCrop, NoiseBank};
use crate::data::synth::texture::Texture;

/// An unfinished image, with planes of `[height, width]`. Luma is 0 to 255, chroma is centred on 0.
#[derive(Debug, Default)]
pub(in crate::data) struct Canvas {
    pub(in crate::data) width: usize,
    pub(in crate::data) height: usize,
    luma: Vec<f32>,
    blue: Vec<f32>,
    red: Vec<f32>,
    row: Row,
}

/// One row of each intermediate value on the way to a colour.
#[derive(Debug, Default)]
struct Row {
    u: Vec<f32>,
    v: Vec<f32>,
    cover: Vec<f32>,
    tone: Vec<f32>,
    grain: Vec<f32>,
}

/// A crop of the noise bank and its amplitude in levels.
pub(in crate::data) type Relief = (FieldCrop, f32);

/// The background.
#[derive(Debug)]
pub(in crate::data) struct Ground {
    pub(in crate::data) luma: f32,
    /// Change of luma over the width and over the height, levels.
    pub(in crate::data) slope: [f32; 2],
    pub(in crate::data) relief: [Relief; 2],
    /// (Cb, Cr), levels.
    pub(in crate::data) chroma: [f32; 2],
    /// One each for Cb and Cr.
    pub(in crate::data) tint: [Relief; 2],
}

/// A painted shape. In its own coordinates (u, v), the tips of its arms are on the unit circle.
#[derive(Debug)]
pub(in crate::data) struct Sprite {
    /// Centre, px.
    pub(in crate::data) center: [f32; 2],
    /// Lengths of the two semi-axes, px.
    pub(in crate::data) axes: [f32; 2],
    /// Cosine and sine of the rotation.
    pub(in crate::data) turn: [f32; 2],
    /// Number of arms, 1 to 10.
    pub(in crate::data) lobes: usize,
    /// How far the arms extend, as a fraction of the mean radius; 0 gives an ellipse.
    pub(in crate::data) depth: f32,
    /// Width of the edge, px.
    pub(in crate::data) softness: f32,
    pub(in crate::data) paint: Paint,
}

/// The surface of a sprite.
#[derive(Debug)]
pub(in crate::data) struct Paint {
    pub(in crate::data) luma: f32,
    /// (Cb, Cr), levels.
    pub(in crate::data) chroma: [f32; 2],
    pub(in crate::data) texture: Texture,
    /// Periods of the texture per unit of (u, v).
    pub(in crate::data) frequency: f32,
    /// Phase of the texture, periods.
    pub(in crate::data) phase: [f32; 2],
    /// Amplitude of the texture, levels.
    pub(in crate::data) contrast: f32,
    pub(in crate::data) grain: Relief,
    /// Change of luma per unit of u and of v, levels.
    pub(in crate::data) shade: [f32; 2],
}

/// The camera's effect on the finished scene.
#[derive(Debug)]
pub(in crate::data) struct Film {
    /// Contrast about medium grey.
    pub(in crate::data) gain: f32,
    /// Standard deviation of the sensor noise, levels.
    pub(in crate::data) noise: f32,
}

impl Canvas {
    /// Creates an image of `width` x `height` pixels.
    pub(in crate::data) fn start(&mut self, (width, height): (usize, usize)) {
        (self.width, self.height) = (width, height);
        for plane in [&mut self.luma, &mut self.blue, &mut self.red] {
            plane.resize(width * height, 0.0);
        }
        let Row { u, v, cover, tone, grain } = &mut self.row;
        for line in [u, v, cover, tone, grain] {
            line.resize(width, 0.0);
        }
    }

    /// Paints the background over the whole image.
    pub(in crate::data) fn fill(&mut self, bank: &NoiseBank, ground: &Ground) {
        let scale = [1.0 / self.width as f32, 1.0 / self.height as f32];
        for y in 0..self.height {
            let span = y * self.width..(y + 1) * self.width;
            let luma = &mut self.luma[span.clone()];
            let left =
                ground.luma - 0.5 * ground.slope[0] + ground.slope[1] * (y as f32 * scale[1] - 0.5);
            let slope = ground.slope[0] * scale[0];
            for (x, value) in luma.iter_mut().enumerate() {
                *value = left + slope * x as f32;
            }
            for relief in ground.relief {
                add_relief(bank, (relief, y), &mut self.row.grain, luma);
            }
            let planes = [&mut self.blue[span.clone()], &mut self.red[span]];
            for (axis, plane) in planes.into_iter().enumerate() {
                plane.fill(ground.chroma[axis]);
                add_relief(bank, (ground.tint[axis], y), &mut self.row.grain, plane);
            }
        }
    }

    /// Paints a sprite over the image.
    pub(in crate::data) fn paint(&mut self, bank: &NoiseBank, sprite: &Sprite) {
        let reach = sprite.axes[0].max(sprite.axes[1]) + sprite.softness;
        let columns = span(sprite.center[0], reach, self.width);
        for y in span(sprite.center[1], reach, self.height) {
            let mut row = self.row.cut(columns.len());
            row.locate(sprite, (columns.start, y));
            row.cover(sprite);
            row.texture(&sprite.paint);
            let (crop, amplitude) = sprite.paint.grain;
            bank.read_row(crop, (columns.start, y), row.grain);
            row.tones(&sprite.paint, amplitude);
            let part = y * self.width + columns.start..y * self.width + columns.end;
            blend_line(&mut self.luma[part.clone()], row.cover, row.tone);
            blend_flat(&mut self.blue[part.clone()], row.cover, sprite.paint.chroma[0]);
            blend_flat(&mut self.red[part], row.cover, sprite.paint.chroma[1]);
        }
    }

    /// Converts the image to `rgb`, `[height, width, 3]`, with the colour matrix of JFIF.
    pub(in crate::data) fn develop(
        &self,
        bank: &NoiseBank,
        (film, rng): (&Film, &mut Rng),
        rgb: &mut Vec<u8>,
    ) {
        rgb.resize(self.width * self.height * 3, 0);
        for (y, out) in rgb.chunks_exact_mut(self.width * 3).enumerate() {
            let span = y * self.width..(y + 1) * self.width;
            let (luma, blue) = (&self.luma[span.clone()], &self.blue[span.clone()]);
            let red = &self.red[span];
            let noise = bank.white(rng, self.width);
            for (x, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let light = 128.0 + film.gain * (luma[x] - 128.0) + film.noise * noise[x];
                *pixel = [
                    level(light + 1.402 * red[x]),
                    level(light - 0.344_14 * blue[x] - 0.714_14 * red[x]),
                    level(light + 1.772 * blue[x]),
                ];
            }
        }
    }
}

/// The part of a [`Row`] under a sprite.
struct RowCut<'a> {
    u: &'a mut [f32],
    v: &'a mut [f32],
    cover: &'a mut [f32],
    tone: &'a mut [f32],
    grain: &'a mut [f32],
}

impl Row {
    fn cut(&mut self, width: usize) -> RowCut<'_> {
        RowCut {
            u: &mut self.u[..width],
            v: &mut self.v[..width],
            cover: &mut self.cover[..width],
            tone: &mut self.tone[..width],
            grain: &mut self.grain[..width],
        }
    }
}

impl RowCut<'_> {
    /// The sprite's coordinates of the pixels from `(x, y)` to the right.
    fn locate(&mut self, sprite: &Sprite, (x, y): (usize, usize)) {
        let ([cos, sin], [major, minor]) = (sprite.turn, sprite.axes);
        let (dx, dy) = (x as f32 - sprite.center[0], y as f32 - sprite.center[1]);
        let (u, v) = ((cos * dx + sin * dy) / major, (cos * dy - sin * dx) / minor);
        let (step_u, step_v) = (cos / major, -sin / minor);
        for (x, (out_u, out_v)) in self.u.iter_mut().zip(&mut *self.v).enumerate() {
            *out_u = u + step_u * x as f32;
            *out_v = v + step_v * x as f32;
        }
    }

    /// The fraction of each pixel that the silhouette covers, 0 to 1.
    fn cover(&mut self, sprite: &Sprite) {
        let sharpness = sprite.axes[0].min(sprite.axes[1]) / sprite.softness;
        let place = (&*self.u, &*self.v);
        let star = (sprite.depth, sharpness);
        match sprite.lobes {
            0..=3 => star_cover::<3>(place, star, self.cover),
            4 => star_cover::<4>(place, star, self.cover),
            5 => star_cover::<5>(place, star, self.cover),
            6 => star_cover::<6>(place, star, self.cover),
            7 => star_cover::<7>(place, star, self.cover),
            8 => star_cover::<8>(place, star, self.cover),
            9 => star_cover::<9>(place, star, self.cover),
            _ => star_cover::<10>(place, star, self.cover),
        }
    }

    /// The texture's tone, -1 to 1. The shading must be computed before, because this turns (u, v)
    /// into periods.
    fn texture(&mut self, paint: &Paint) {
        for (line, phase) in [(&mut *self.u, paint.phase[0]), (&mut *self.v, paint.phase[1])] {
            for x in line {
                *x = *x * paint.frequency + phase;
            }
        }
        paint.texture.tones((self.u, self.v), self.tone);
    }

    /// Converts tones to luma.
    fn tones(&mut self, paint: &Paint, amplitude: f32) {
        let shade = paint.shade.map(|s| s / paint.frequency);
        let base = paint.luma - shade[0] * paint.phase[0] - shade[1] * paint.phase[1];
        for (x, tone) in self.tone.iter_mut().enumerate() {
            *tone = base
                + paint.contrast * *tone
                + amplitude * self.grain[x]
                + shade[0] * self.u[x]
                + shade[1] * self.v[x];
        }
    }
}

/// Coverage of a rounded star, r(theta) = (1 + depth cos(N theta)) / (1 + depth). The cosine is the
/// real part of the N-th power of the direction, so no angle is computed.
fn star_cover<const N: usize>(
    (u, v): (&[f32], &[f32]),
    (depth, sharpness): (f32, f32),
    cover: &mut [f32],
) {
    let scale = 1.0 / (1.0 + depth);
    for ((cover, &u), &v) in cover.iter_mut().zip(u).zip(v) {
        let radius = (u * u + v * v).sqrt();
        let inverse = 1.0 / (radius + 1e-6);
        let (cos, sin) = (u * inverse, v * inverse);
        let (mut re, mut im) = (cos, sin);
        for _ in 1..N {
            (re, im) = (re * cos - im * sin, re * sin + im * cos);
        }
        let edge = (1.0 + depth * re) * scale;
        *cover = (0.5 + (edge - radius) * sharpness).clamp(0.0, 1.0);
    }
}

fn add_relief(
    bank: &NoiseBank,
    ((crop, amplitude), y): (Relief, usize),
    line: &mut [f32],
    plane: &mut [f32],
) {
    bank.read_row(crop, (0, y), line);
    for (value, &noise) in plane.iter_mut().zip(&*line) {
        *value += amplitude * noise;
    }
}

fn blend_line(plane: &mut [f32], cover: &[f32], color: &[f32]) {
    for ((value, &cover), &color) in plane.iter_mut().zip(cover).zip(color) {
        *value += cover * (color - *value);
    }
}

fn blend_flat(plane: &mut [f32], cover: &[f32], color: f32) {
    for (value, &cover) in plane.iter_mut().zip(cover) {
        *value += cover * (color - *value);
    }
}

/// The pixels within `reach` of `center`, clipped to `0..limit`.
fn span(center: f32, reach: f32, limit: usize) -> std::ops::Range<usize> {
    let start = (center - reach).floor().max(0.0) as usize;
    let end = ((center + reach).ceil().max(0.0) as usize + 1).min(limit);
    start.min(end)..end
}

/// Rounds to the nearest of 256 levels. Adding 2^23 leaves the rounded value in the lowest byte.
fn level(value: f32) -> u8 {
    (value.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}
