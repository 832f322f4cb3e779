//! From (config, split, index) to the bytes of a JPEG.

use super::super::config::SynthConfig;
use super::super::random::Rng;
use super::canvas::Canvas;
use super::class::{MAX_CLASSES, Prototype, prototypes};
use super::error::SynthError;
use super::noise::NoiseBank;
use super::scene::Scene;

/// Counts every change that alters a picture, and so names the cached sets.
pub const GENERATOR_VERSION: u32 = 1;

/// Which half of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What is trained on.
    Train,
    /// What is evaluated on.
    Eval,
}

impl Split {
    /// The folder's name, as in ImageNet's layout.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Eval => "val",
        }
    }

    /// The images of this split in a set.
    pub fn num_images(self, config: &SynthConfig) -> usize {
        match self {
            Self::Train => config.num_train,
            Self::Eval => config.num_eval,
        }
    }
}

/// Draws the pictures of one set; shared by threads, each with a [`Painter`] of its own.
#[derive(Debug)]
pub struct Generator {
    config: SynthConfig,
    classes: Vec<Prototype>,
    bank: NoiseBank,
}

impl Generator {
    /// Checks the config and makes what all pictures share.
    pub fn new(config: &SynthConfig) -> Result<Self, SynthError> {
        check(config)?;
        Ok(Self {
            config: config.clone(),
            classes: prototypes(config.seed, config.num_classes),
            bank: NoiseBank::new(config.seed),
        })
    }

    /// The set's config.
    pub fn config(&self) -> &SynthConfig {
        &self.config
    }

    /// The class of an image: every class has as many images as any other, or one more.
    pub fn class(&self, index: usize) -> usize {
        index % self.classes.len()
    }

    /// One thread's brushes.
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

/// Paints and compresses pictures one after the other, reusing its buffers.
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
        let mut rng = Rng::keyed(&[config.seed, 0x7069_6374, split as u64, index as u64]);
        let class = &classes[self.generator.class(index)];
        let scene = Scene::draw(&mut rng, class, (config.size, config.difficulty));
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

/// Refuses a config that no set can be made of.
pub fn check(config: &SynthConfig) -> Result<(), SynthError> {
    let SynthConfig { num_classes, num_train, num_eval, size, difficulty, seed: _ } = config;
    in_range("num_classes", *num_classes, (1, MAX_CLASSES))?;
    in_range("num_train", *num_train, (*num_classes, 99_999_999))?;
    in_range("num_eval", *num_eval, (*num_classes, 99_999_999))?;
    in_range("size", *size, (32, 4096))?;
    in_range("difficulty", *difficulty, (0.0, 1.0))
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    (low, high): (T, T),
) -> Result<(), SynthError> {
    if value >= low && value <= high {
        return Ok(());
    }
    let problem = format!("out of range; give {low} to {high}");
    Err(SynthError::Config { field, value: value.to_string(), problem })
}
