//! The texture of a class: a periodic pattern on the object.

/// A pattern in the object's own coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Texture {
    Plain,
    Stripe,
    Checker,
    Ring,
    Spot,
    Grid,
    Chevron,
    Rays,
    Dash,
}

/// The patterns of classes. Up to 32 classes use only the first four.
pub(in crate::data) const TEXTURES: [Texture; 8] = [
    Texture::Stripe,
    Texture::Checker,
    Texture::Ring,
    Texture::Spot,
    Texture::Grid,
    Texture::Chevron,
    Texture::Rays,
    Texture::Dash,
];

impl Texture {
    /// Writes the tone, -1 to 1, of each point of a row to `tone`. `u` and `v` are coordinates in
    /// periods.
    pub(in crate::data) fn tones(self, (u, v): (&[f32], &[f32]), tone: &mut [f32]) {
        match self {
            Self::Plain => tone.fill(0.0),
            Self::Stripe => each(u, v, tone, |u, _| crisp(wave(u))),
            Self::Checker => each(u, v, tone, |u, v| crisp(2.0 * wave(u * 0.5) * wave(v * 0.5))),
            Self::Ring => each(u, v, tone, |u, v| crisp(wave((u * u + v * v).sqrt()))),
            Self::Spot => each(u, v, tone, |u, v| crisp(3.0 * wave(u) + 3.0 * wave(v) - 2.0)),
            Self::Grid => each(u, v, tone, |u, v| crisp(3.0 * wave(u).max(wave(v)) - 1.8)),
            Self::Chevron => each(u, v, tone, |u, v| crisp(wave(u + 0.6 * wave(v * 0.5)))),
            Self::Rays => each(u, v, tone, |u, v| crisp(3.0 * octofoil(u, v))),
            Self::Dash => each(u, v, tone, |u, v| {
                crisp(3.0 * wave(u).min(wave(v * 0.5 + 0.25 * crisp(4.0 * wave(u * 0.5)))))
            }),
        }
    }
}

fn each(u: &[f32], v: &[f32], tone: &mut [f32], at: impl Fn(f32, f32) -> f32) {
    for ((tone, &u), &v) in tone.iter_mut().zip(u).zip(v) {
        *tone = at(u, v);
    }
}

/// An approximation of cos(2 pi x) without trigonometry: a triangle wave rounded by a cubic.
fn wave(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer in two additions.
    const ROUND: f32 = 12_582_912.0;
    let t = 1.0 - 4.0 * (x - ((x + ROUND) - ROUND)).abs();
    t * (1.5 - 0.5 * t * t)
}

/// Steepens the edges of a wave to about a quarter period.
fn crisp(x: f32) -> f32 {
    (1.6 * x).clamp(-1.0, 1.0)
}

/// cos(8 theta) of the direction of (u, v).
fn octofoil(u: f32, v: f32) -> f32 {
    let scale = 1.0 / (u * u + v * v + 1e-6);
    let c2 = (u * u - v * v) * scale;
    let c4 = 2.0 * c2 * c2 - 1.0;
    2.0 * c4 * c4 - 1.0
}
