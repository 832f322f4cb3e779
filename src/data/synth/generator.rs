//! From (config, split, index) to the bytes of a JPEG.

use std::ops::RangeInclusive;

use crate::data::{
    config::{Split, SynthConfig},
    rng::Rng,
    synth::{
        canvas::Canvas,
        class::{MAX_CLASSES, Prototype, prototypes},
        error::SynthError,
        noise::NoiseBank,
        scene::Scene,
    },
};

/// Version of the generator. Raise it with every change that alters an image; it is part of the
/// names of cached data sets.
pub const GENERATOR_VERSION: u32 = 1;

/// Key of the random streams of images.
const STREAM: u64 = u64::from_be_bytes(*b"\0\0\0\0pict");

/// Draws the images of one data set. Threads share it; each has its own [`Painter`].
#[derive(Debug)]
pub struct Generator {
    config: SynthConfig,
    classes: Vec<Prototype>,
    bank: NoiseBank,
}

impl Generator {
    /// Checks the config and prepares everything that the images share.
    pub fn new(config: &SynthConfig) -> Result<Self, SynthError> {
        check(config)?;
        Ok(Self {
            config: config.clone(),
            classes: prototypes(config.seed, config.num_classes),
            bank: NoiseBank::new(config.seed),
        })
    }

    /// The config of the data set.
    pub fn config(&self) -> &SynthConfig {
        &self.config
    }

    /// The class of an image. The numbers of images per class differ by at most one.
    pub fn class(&self, index: usize) -> usize {
        index % self.classes.len()
    }

    /// Creates a painter for one thread.
    pub fn painter(&self) -> Result<Painter<'_>, SynthError> {
        Ok(Painter {
            generator: self,
            canvas: Canvas::default(),
            rgb: Vec::new(),
            jpeg: Vec::new(),
            compressor: turbojpeg::Compressor::new()?,
        })
    }
}

/// Paints and compresses images one after the other, reusing its buffers.
#[derive(Debug)]
pub struct Painter<'a> {
    generator: &'a Generator,
    canvas: Canvas,
    rgb: Vec<u8>,
    jpeg: Vec<u8>,
    compressor: turbojpeg::Compressor,
}

impl Painter<'_> {
    /// The JPEG of an image, valid until the next call.
    pub fn jpeg(&mut self, split: Split, index: usize) -> Result<&[u8], SynthError> {
        let Generator { config, classes, bank } = self.generator;
        let mut rng = Rng::keyed(&[config.seed, STREAM, split as u64, index as u64]);
        let class = &classes[self.generator.class(index)];
        let scene = Scene::draw(&mut rng, class, config);
        self.canvas.start(scene.extent);
        self.canvas.fill(bank, &scene.ground);
        for sprite in &scene.sprites {
            self.canvas.paint(bank, sprite);
        }
        self.canvas.develop(bank, (&scene.film, &mut rng), &mut self.rgb);
        self.compress(&scene)
    }

    fn compress(&mut self, scene: &Scene) -> Result<&[u8], SynthError> {
        let (width, height) = scene.extent;
        self.compressor.set_quality(scene.quality)?;
        self.compressor.set_subsamp(scene.subsampling)?;
        let bound = self.compressor.buf_len(width, height)?;
        if self.jpeg.len() < bound {
            self.jpeg.resize(bound, 0);
        }
        let image = turbojpeg::Image {
            pixels: self.rgb.as_slice(),
            width,
            pitch: 3 * width,
            height,
            format: turbojpeg::PixelFormat::RGB,
        };
        let len = self.compressor.compress_to_slice(image, &mut self.jpeg)?;
        Ok(&self.jpeg[..len])
    }
}

/// Rejects a config from which no data set can be made.
pub fn check(config: &SynthConfig) -> Result<(), SynthError> {
    in_range("num_classes", config.num_classes, &(2..=MAX_CLASSES))?;
    in_range("size", config.size, &(32..=4096))?;
    in_range("difficulty", config.difficulty, &(0.0..=1.0))?;
    let [smallest, largest] = config.object_size;
    in_range("object_size[0]", smallest, &(0.05..=1.0))?;
    in_range("object_size[1]", largest, &(smallest..=1.0))?;
    in_range("texture_scale", config.texture_scale, &(0.25..=4.0))?;
    for (field, num_images) in [("num_train", config.num_train), ("num_eval", config.num_eval)] {
        in_range(field, num_images, &(1..=99_999_999))?;
        if num_images < config.num_classes {
            let problem =
                format!("fewer than num_classes = {0}; give {0} or more", config.num_classes);
            return Err(SynthError::Config { field, value: num_images.to_string(), problem });
        }
    }
    Ok(())
}

fn in_range<T: Copy + PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<(), SynthError> {
    if range.contains(&value) {
        return Ok(());
    }
    let problem = format!("out of range; give {} to {}", range.start(), range.end());
    Err(SynthError::Config { field, value: value.to_string(), problem })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn config() -> SynthConfig {
        SynthConfig { num_train: 160, num_eval: 48, size: 96, ..SynthConfig::default() }
    }

    fn images(config: &SynthConfig, split: Split) -> Vec<Vec<u8>> {
        let generator = Generator::new(config).unwrap();
        let mut painter = generator.painter().unwrap();
        (0..48).map(|index| painter.jpeg(split, index).unwrap().to_vec()).collect()
    }

    #[test]
    fn an_image_depends_only_on_seed_split_and_index() {
        let images_of_seed = |seed, split| images(&SynthConfig { seed, ..config() }, split);
        let first = images_of_seed(0, Split::Train);
        assert_eq!(first, images_of_seed(0, Split::Train));
        let mut all: BTreeSet<_> = first.iter().cloned().collect();
        all.extend(images_of_seed(0, Split::Eval));
        all.extend(images_of_seed(1, Split::Train));
        assert_eq!(all.len(), 3 * 48);
        let generator = Generator::new(&config()).unwrap();
        let mut painter = generator.painter().unwrap();
        for index in (0..48).rev() {
            assert_eq!(painter.jpeg(Split::Train, index).unwrap(), first[index]);
        }
    }

    /// If this fails, the images have changed: raise `GENERATOR_VERSION`, then update the digest.
    #[test]
    fn images_of_this_version_are_pinned() {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        for (num_classes, difficulty) in [(16, 0.6), (40, 1.0), (48, 0.0)] {
            let config = SynthConfig { num_classes, difficulty, ..config() };
            for jpeg in images(&config, Split::Eval) {
                hash.update(jpeg);
            }
        }
        let digest = hash.finalize()[..8].to_vec();
        assert_eq!(
            (GENERATOR_VERSION, digest),
            (1, 0xa90a_8602_8163_ff91_u64.to_be_bytes().to_vec())
        );
    }

    #[test]
    fn files_decode_to_photograph_like_sizes() {
        let generator = Generator::new(&config()).unwrap();
        let mut painter = generator.painter().unwrap();
        let (mut extents, mut subsamplings) = (BTreeSet::new(), BTreeSet::new());
        let (mut num_bytes, mut num_pixels) = (0, 0);
        for index in 0..160 {
            let jpeg = painter.jpeg(Split::Train, index).unwrap();
            let header = turbojpeg::read_header(jpeg).unwrap();
            let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).unwrap();
            let long = image.width.max(image.height);
            assert!((86..=106).contains(&long), "{long}");
            extents.insert((image.width, image.height));
            subsamplings.insert(header.subsamp as i32);
            num_bytes += jpeg.len();
            num_pixels += image.width * image.height;
        }
        let formats: BTreeSet<_> = extents.iter().map(|(w, h): &(usize, usize)| w.cmp(h)).collect();
        assert_eq!(formats.len(), 3, "{extents:?}");
        assert!(extents.len() > 20, "{extents:?}");
        assert_eq!(subsamplings.len(), 2);
        let bytes_per_pixel = num_bytes as f64 / num_pixels as f64;
        assert!((0.4..0.7).contains(&bytes_per_pixel), "{bytes_per_pixel}");
    }

    #[test]
    fn extreme_configs_can_be_painted() {
        for (size, num_classes) in [(32, 2), (4096, 2), (32, MAX_CLASSES)] {
            for difficulty in [0.0, 1.0] {
                let num = num_classes;
                let config = SynthConfig {
                    size,
                    num_classes,
                    difficulty,
                    object_size: [0.05, 1.0],
                    texture_scale: 0.25,
                    num_train: num,
                    num_eval: num,
                    seed: 7,
                };
                let generator = Generator::new(&config).unwrap();
                let mut painter = generator.painter().unwrap();
                for index in 0..num {
                    painter.jpeg(Split::Train, index).unwrap();
                }
            }
        }
    }

    #[test]
    fn impossible_configs_are_rejected_with_a_one_line_message() {
        type Change = fn(&mut SynthConfig);
        let refusal = |change: Change| {
            let mut config = config();
            change(&mut config);
            Generator::new(&config).unwrap_err().to_string()
        };
        let cases: [(Change, &str); 10] = [
            (|c| c.num_classes = 1, "num_classes = 1 is out of range; give 2 to 1024"),
            (|c| c.num_classes = 2000, "num_classes = 2000 is out of range; give 2 to 1024"),
            (|c| c.size = 31, "size = 31 is out of range; give 32 to 4096"),
            (|c| c.difficulty = 1.5, "difficulty = 1.5 is out of range; give 0 to 1"),
            (|c| c.difficulty = f64::NAN, "difficulty = NaN is out of range; give 0 to 1"),
            (|c| c.object_size[0] = 0.0, "object_size[0] = 0 is out of range; give 0.05 to 1"),
            (|c| c.object_size[1] = 0.2, "object_size[1] = 0.2 is out of range; give 0.38 to 1"),
            (|c| c.texture_scale = 5.0, "texture_scale = 5 is out of range; give 0.25 to 4"),
            (|c| c.num_train = 0, "num_train = 0 is out of range; give 1 to 99999999"),
            (|c| c.num_eval = 3, "num_eval = 3 is fewer than num_classes = 16; give 16 or more"),
        ];
        for (change, message) in cases {
            assert_eq!(refusal(change), format!("invalid synthetic data set: {message}"));
        }
    }
}
