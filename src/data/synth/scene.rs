//! The contents of an image: every random choice except the noise of the pixels.

use std::ops::Range;

use crate::data::{
    config::SynthConfig,
    rng::Rng,
    synth::{
        canvas::{Film, Ground, Paint, Relief, Sprite},
        class::{Prototype, unit_vector},
        noise::{FieldCrop, NUM_FIELDS},
        texture::{TEXTURES, Texture},
    },
};

/// One image, ready to paint.
#[derive(Debug)]
pub(in crate::data) struct Scene {
    /// Width and height, px.
    pub(in crate::data) extent: (usize, usize),
    pub(in crate::data) ground: Ground,
    /// Sprites, from back to front.
    pub(in crate::data) sprites: Vec<Sprite>,
    pub(in crate::data) film: Film,
    /// JPEG quality.
    pub(in crate::data) quality: i32,
    pub(in crate::data) subsampling: turbojpeg::Subsamp,
}

/// Draws the parts of one scene.
struct Artist<'a> {
    rng: &'a mut Rng,
    difficulty: f32,
    /// Range of the object's semi-axis, as fractions of `short`.
    object_size: [f32; 2],
    /// Factor of the textures' periods.
    texture_scale: f32,
    /// Width and height, px.
    frame: [f32; 2],
    /// The shorter of the two, px.
    short: f32,
}

impl Scene {
    /// A scene of a class.
    pub(in crate::data) fn draw(rng: &mut Rng, class: &Prototype, config: &SynthConfig) -> Self {
        let extent = extent(rng, config.size);
        let frame = [extent.0 as f32, extent.1 as f32];
        let (difficulty, short) = (config.difficulty as f32, frame[0].min(frame[1]));
        let object_size = config.object_size.map(|fraction| fraction as f32);
        let texture_scale = config.texture_scale as f32;
        let mut artist = Artist { rng, difficulty, object_size, texture_scale, frame, short };
        let ground = artist.ground(class);
        let mut sprites = artist.distractors(class, &ground);
        let object = artist.object(class, &ground);
        let occluder = artist.occluder(&object, &ground);
        sprites.push(object);
        sprites.extend(occluder);
        let film = artist.film();
        let full_chroma = rng.below(3) == 0;
        let subsampling =
            if full_chroma { turbojpeg::Subsamp::None } else { turbojpeg::Subsamp::Sub2x2 };
        Self { extent, ground, sprites, film, quality: 88 + rng.below(8) as i32, subsampling }
    }
}

/// Width and height: the long side is within 10 % of `size`, with the aspect ratios of photographs.
fn extent(rng: &mut Rng, size: usize) -> (usize, usize) {
    let long = size as f32 * rng.range(0.9, 1.1);
    let (width, height) = [(1, 1), (4, 3), (4, 3), (3, 4), (3, 2), (2, 3)][rng.below(6)];
    let unit = long / width.max(height) as f32;
    ((unit * width as f32).round() as usize, (unit * height as f32).round() as usize)
}

impl Artist<'_> {
    fn ground(&mut self, class: &Prototype) -> Ground {
        let strength = self.rng.range(0.5, 1.0) * (16.0 + 16.0 * self.difficulty);
        Ground {
            luma: self.rng.range(75.0, 175.0),
            slope: [self.rng.range(-25.0, 25.0), self.rng.range(-45.0, 45.0)],
            relief: [self.relief(4..NUM_FIELDS, 0.8 * strength), self.relief(0..4, 0.5 * strength)],
            chroma: self.chroma(class.ground_hue),
            tint: [self.relief(3..NUM_FIELDS, 4.0), self.relief(3..NUM_FIELDS, 4.0)],
        }
    }

    /// A colour weakly biased to `hue`; the noise is stronger.
    fn chroma(&mut self, hue: [f32; 2]) -> [f32; 2] {
        let noise = 6.0 + 5.0 * self.difficulty;
        hue.map(|direction| 8.5 * direction + noise * self.rng.normal())
    }

    fn relief(&mut self, fields: Range<usize>, amplitude: f32) -> Relief {
        (FieldCrop::draw(self.rng, fields), amplitude)
    }

    /// Soft blobs, half of them with a wrong texture, then silhouettes with a plain fill.
    fn distractors(&mut self, class: &Prototype, ground: &Ground) -> Vec<Sprite> {
        let num_blobs = self.rng.below(2 + (5.0 * self.difficulty).round() as usize);
        let num_shapes = self.rng.below(1 + (3.0 * self.difficulty).round() as usize);
        let mut sprites = Vec::with_capacity(num_blobs + num_shapes + 2);
        for _ in 0..num_blobs {
            let textured = self.rng.chance(0.5);
            let texture = if textured { self.other_texture(class.texture) } else { Texture::Plain };
            let mut blob = self.shape((0.10, 0.22), ground);
            blob.depth = 0.0;
            blob.softness = self.rng.range(0.02, 0.06) * self.short;
            blob.paint.texture = texture;
            blob.paint.chroma = self.chroma([0.0; 2]);
            sprites.push(blob);
        }
        for _ in 0..num_shapes {
            let mut shape = self.shape((0.10, 0.20), ground);
            shape.lobes = 3 + (class.lobes - 3 + 1 + self.rng.below(3)) % 4;
            shape.depth = class.depth;
            shape.paint.chroma = self.chroma([0.0; 2]);
            sprites.push(shape);
        }
        sprites
    }

    fn other_texture(&mut self, own: Texture) -> Texture {
        let others = TEXTURES[..4].iter().filter(|&&texture| texture != own);
        let others: Vec<_> = others.copied().collect();
        others[self.rng.below(others.len())]
    }

    /// An untextured shape anywhere, whose semi-axis is a fraction of the short side within
    /// `radius`.
    fn shape(&mut self, (low, high): (f32, f32), ground: &Ground) -> Sprite {
        let radius = self.rng.range(low, high) * self.short;
        let center = self.frame.map(|side| side * self.rng.range(0.05, 0.95));
        Sprite {
            center,
            axes: self.squash(radius),
            turn: unit_vector(self.rng),
            lobes: 3,
            depth: 0.3,
            softness: self.rng.range(1.0, 2.0),
            paint: self.paint(ground, 0.155),
        }
    }

    /// Semi-axes of about `radius`.
    fn squash(&mut self, radius: f32) -> [f32; 2] {
        let ratio = self.rng.range(0.82, 1.0);
        [radius, radius * ratio]
    }

    /// A surface that is lighter or darker than the ground, with a texture whose period is a
    /// fraction of the size (2 units of (u, v)).
    fn paint(&mut self, ground: &Ground, period: f32) -> Paint {
        let step = self.rng.range(36.0, 60.0);
        let darker = self.rng.chance(f64::from(ground.luma - 75.0) / 100.0);
        let sign = if self.rng.chance(0.5) { 1.0 } else { -1.0 };
        Paint {
            luma: ground.luma + if darker { -step } else { step },
            chroma: [0.0; 2],
            texture: Texture::Plain,
            frequency: 0.5 / (period * self.texture_scale),
            phase: [self.rng.range(-0.5, 0.5), self.rng.range(-0.5, 0.5)],
            contrast: sign * self.rng.range(34.0, 52.0),
            grain: self.relief(0..NUM_FIELDS, 5.0 + 5.0 * self.difficulty),
            shade: [self.rng.range(-14.0, 14.0), self.rng.range(-14.0, 14.0)],
        }
    }

    fn object(&mut self, class: &Prototype, ground: &Ground) -> Sprite {
        let jitter = 0.2 * self.difficulty;
        let period = class.period * self.rng.range(1.0 - jitter, 1.0 + jitter);
        let [smallest, largest] = self.object_size;
        let radius = self.rng.range(smallest, largest) * self.short;
        let center = self.frame.map(|side| {
            let slack = (0.5 * side - 0.9 * radius).max(0.0);
            0.5 * side + self.rng.range(-1.0, 1.0) * slack.min(0.12 * side)
        });
        let mut paint = self.paint(ground, period);
        paint.texture = class.texture;
        paint.chroma = self.chroma(class.hue);
        Sprite {
            center,
            axes: self.squash(radius),
            turn: unit_vector(self.rng),
            lobes: class.lobes,
            depth: class.depth * self.rng.range(0.9, 1.1),
            softness: self.rng.range(1.0, 2.0),
            paint,
        }
    }

    /// A sprite in front of the object's edge.
    fn occluder(&mut self, object: &Sprite, ground: &Ground) -> Option<Sprite> {
        if !self.rng.chance(0.8 * f64::from(self.difficulty)) {
            return None;
        }
        let mut occluder = self.shape((0.08, 0.10 + 0.08 * self.difficulty), ground);
        let direction = unit_vector(self.rng);
        let distance = self.rng.range(0.7, 1.0) * object.axes[0];
        occluder.center =
            std::array::from_fn(|axis| object.center[axis] + direction[axis] * distance);
        occluder.depth = 0.0;
        occluder.paint.chroma = self.chroma([0.0; 2]);
        Some(occluder)
    }

    fn film(&mut self) -> Film {
        let jitter = 0.1 + 0.2 * self.difficulty;
        Film {
            gain: self.rng.range(1.0 - jitter, 1.0 + jitter),
            noise: self.rng.range(3.5, 6.0) + self.rng.range(0.0, 3.0) * self.difficulty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synth::class::prototypes;

    #[test]
    fn objects_and_textures_have_the_configured_sizes() {
        let (object_size, texture_scale) = ([0.2, 0.6], 2.0);
        let config =
            SynthConfig { difficulty: 0.0, object_size, texture_scale, ..SynthConfig::default() };
        let class = &prototypes(config.seed, config.num_classes)[0];
        let mut sizes = Vec::new();
        for index in 0..200 {
            let scene = Scene::draw(&mut Rng::keyed(&[index]), class, &config);
            let object = scene.sprites.last().unwrap();
            assert_eq!(object.paint.texture, class.texture);
            assert!((object.paint.frequency * 2.0 * class.period - 0.5).abs() < 1e-5);
            sizes.push(object.axes[0] / scene.extent.0.min(scene.extent.1) as f32);
        }
        sizes.sort_unstable_by(f32::total_cmp);
        assert!((0.2..0.22).contains(&sizes[0]), "{}", sizes[0]);
        assert!((0.58..=0.6).contains(&sizes[199]), "{}", sizes[199]);
    }
}
