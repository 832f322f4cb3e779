//! The definition of a class: a silhouette and a texture, both of which must be recognized.

use crate::data::rng::Rng;
use crate::data::synth::texture::{TEXTURES, Texture};

/// Limit of classes that differ in lobes, texture, period or depth.
pub(in crate::data) const MAX_CLASSES: usize = 1024;
/// Number of classes that differ in lobes or texture.
const ONE_PERIOD: usize = 64;

/// Key of the random streams of classes.
const STREAM: u64 = u64::from_be_bytes(*b"\0\0\0class");

/// The common properties of the images of a class.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Prototype {
    /// Number of arms of the silhouette.
    pub(in crate::data) lobes: usize,
    /// How far the arms extend, as a fraction of the mean radius.
    pub(in crate::data) depth: f32,
    /// Texture of the object.
    pub(in crate::data) texture: Texture,
    /// Period of the texture, as a fraction of the object's size.
    pub(in crate::data) period: f32,
    /// Colour bias of the object: a direction in (Cb, Cr).
    pub(in crate::data) hue: [f32; 2],
    /// Colour bias of the background.
    pub(in crate::data) ground_hue: [f32; 2],
}

/// The classes of a data set.
pub(in crate::data) fn prototypes(seed: u64, num_classes: usize) -> Vec<Prototype> {
    (0..num_classes).map(|class| prototype(seed, class, num_classes)).collect()
}

/// Sixteen classes are 4 lobes x 4 textures, in an order in which the first eight already use every
/// lobe and every texture twice. More classes add four more lobes, then four more textures, then
/// more periods, then more depths.
fn prototype(seed: u64, class: usize, num_classes: usize) -> Prototype {
    let mut rng = Rng::keyed(&[seed, STREAM, class as u64]);
    let (hue, ground_hue) = (unit_vector(&mut rng), unit_vector(&mut rng));
    let block = class / 16;
    let period = if num_classes <= ONE_PERIOD {
        rng.range(0.14, 0.17)
    } else {
        [0.155, 0.20, 0.12, 0.255][(block / 4) % 4]
    };
    Prototype {
        lobes: 3 + class % 4 + 4 * (block % 2),
        depth: [0.36, 0.18, 0.50, 0.26][(block / 16) % 4],
        texture: TEXTURES[(class + class / 4) % 4 + 4 * ((block / 2) % 2)],
        period,
        hue,
        ground_hue,
    }
}

/// A direction, uniform on the circle.
pub(in crate::data) fn unit_vector(rng: &mut Rng) -> [f32; 2] {
    loop {
        let (x, y) = (rng.range(-1.0, 1.0), rng.range(-1.0, 1.0));
        let square = x * x + y * y;
        if (0.01..1.0).contains(&square) {
            let scale = 1.0 / square.sqrt();
            return [x * scale, y * scale];
        }
    }
}
