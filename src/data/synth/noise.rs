//! Noise generated once and sampled by every image: eight 1/f fields and one line of white noise.

use crate::data::rng::Rng;

/// Width and height of a field, a power of two, px; fields repeat beyond it.
const SIDE: usize = 512;
/// Number of fields in the bank.
pub(in crate::data) const NUM_FIELDS: usize = 8;
/// Samples of white noise; rows of images start anywhere in the first half.
const WHITE: usize = 1 << 16;

/// Key of the random stream of white noise.
const WHITE_STREAM: u64 = u64::from_be_bytes(*b"\0\0\0white");
/// Key of the random streams of fields.
const FIELD_STREAM: u64 = u64::from_be_bytes(*b"\0\0\0field");

/// The noise bank.
#[derive(Debug)]
pub(in crate::data) struct NoiseBank {
    /// Each field is `[SIDE, SIDE]` with mean 0 and variance 1, ordered from rough to smooth.
    fields: Vec<Vec<f32>>,
    /// `[WHITE]`, mean 0, variance 1.
    white: Vec<f32>,
}

/// How an image crops a field: an origin and a flip.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct FieldCrop {
    field: usize,
    x: usize,
    y: usize,
    flip: bool,
}

impl NoiseBank {
    /// The bank of a data set.
    pub(in crate::data) fn new(seed: u64) -> Self {
        let fields = (0..NUM_FIELDS).map(|index| field(seed, index)).collect();
        let mut rng = Rng::keyed(&[seed, WHITE_STREAM]);
        Self { fields, white: (0..WHITE).map(|_| rng.normal()).collect() }
    }

    /// Writes the part of row `y` of a crop that starts at column `x` to `row`.
    pub(in crate::data) fn read_row(
        &self,
        crop: FieldCrop,
        (x, y): (usize, usize),
        row: &mut [f32],
    ) {
        let start = ((crop.y + y) % SIDE) * SIDE;
        let line = &self.fields[crop.field][start..start + SIDE];
        for (offset, out) in row.iter_mut().enumerate() {
            let column = crop.x + x + offset;
            let column = if crop.flip { !column } else { column };
            *out = line[column & (SIDE - 1)];
        }
    }

    /// `width` samples of white noise, starting at a random position.
    pub(in crate::data) fn white(&self, rng: &mut Rng, width: usize) -> &[f32] {
        let start = rng.below(WHITE - width);
        &self.white[start..start + width]
    }
}

impl FieldCrop {
    /// A random crop of a field among `fields`.
    pub(in crate::data) fn draw(rng: &mut Rng, fields: std::ops::Range<usize>) -> Self {
        Self {
            field: fields.start + rng.below(fields.len()),
            x: rng.below(SIDE),
            y: rng.below(SIDE),
            flip: rng.chance(0.5),
        }
    }
}

/// One field: octaves of value noise on a torus. In two dimensions, a power spectrum of 1/f^b has
/// octaves whose amplitudes fall by 2^((2 - b) / 2); b goes from 1.6 to 3 over the bank.
fn field(seed: u64, index: usize) -> Vec<f32> {
    let mut rng = Rng::keyed(&[seed, FIELD_STREAM, index as u64]);
    let roughness = index as f32 / (NUM_FIELDS - 1) as f32;
    let gain = 1.15 - 0.44 * roughness;
    let mut values = vec![0.0; SIDE * SIDE];
    let mut amplitude = 1.0;
    for octave in 1..9 {
        add_octave(&mut values, 1 << octave, amplitude, &mut rng);
        amplitude *= gain;
    }
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let power = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / values.len() as f32;
    let scale = 1.0 / power.sqrt();
    for value in &mut values {
        *value = (*value - mean) * scale;
    }
    values
}

/// Adds noise with knots on a `cells` x `cells` lattice at a random offset.
fn add_octave(values: &mut [f32], cells: usize, amplitude: f32, rng: &mut Rng) {
    let knots: Vec<f32> = (0..cells * cells).map(|_| amplitude * rng.normal()).collect();
    let pitch = SIDE / cells;
    let (shift_x, shift_y) = (rng.below(pitch), rng.below(pitch));
    let place = |position: usize, shift: usize| {
        let t = ((position + shift) % pitch) as f32 / pitch as f32;
        let cell = (position + shift) / pitch;
        (cell % cells, (cell + 1) % cells, t * t * (3.0 - 2.0 * t))
    };
    let columns: Vec<_> = (0..SIDE).map(|x| place(x, shift_x)).collect();
    for (y, row) in values.chunks_exact_mut(SIDE).enumerate() {
        let (above, below, fy) = place(y, shift_y);
        let (above, below) = (&knots[above * cells..][..cells], &knots[below * cells..][..cells]);
        for (value, &(left, right, fx)) in row.iter_mut().zip(&columns) {
            let top = above[left] + (above[right] - above[left]) * fx;
            let bottom = below[left] + (below[right] - below[left]) * fx;
            *value += top + (bottom - top) * fy;
        }
    }
}
