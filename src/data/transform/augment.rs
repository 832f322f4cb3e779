//! `RandAugment` (Cubuk et al. 2019, section 3): the random draw of operations on a row. The operations
//! themselves are in `operation`.
//!
//! There are two families of strengths. Composer draws each strength up to `severity` of 10 and samples
//! bilinearly; torchvision uses number `severity` of 31 fixed strengths and the nearest pixel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::{
    rng::Rng,
    transform::{
        affine::{Affine, Sampling},
        operation::Operation,
    },
};

/// How training rows are augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    /// Operations on a row, one after the other.
    pub depth: usize,
    /// Strength, up to the set's [`AugmentationSet::max_severity`].
    pub severity: usize,
    /// Operations to draw from, and the scale of their strengths.
    pub set: AugmentationSet,
}

/// A set of operations and strengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AugmentationSet {
    /// Composer's 13 operations.
    #[default]
    All,
    /// Those of them that are no corruption of ImageNet-C: all but the four of colour and sharpness.
    Safe,
    /// Composer's 13 operations; colour, contrast, brightness and sharpness as in `AugMix`.
    Original,
    /// torchvision's 14 operations.
    Torchvision,
}

impl AugmentationSet {
    /// The greatest strength.
    pub fn max_severity(self) -> usize {
        match self {
            Self::All | Self::Safe | Self::Original => 10,
            Self::Torchvision => NUM_BINS - 1,
        }
    }

    pub(in crate::data) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::All | Self::Original => &COMPOSER,
            Self::Safe => &COMPOSER[..NUM_SAFE],
            Self::Torchvision => &TORCHVISION,
        }
    }
}

/// A kind of operation, before its strength is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::data) enum Kind {
    Identity,
    AutoContrast,
    Equalize,
    Posterize,
    Rotate,
    Solarize,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Color,
    Contrast,
    Brightness,
    Sharpness,
}

impl Kind {
    fn is_enhancement(self) -> bool {
        matches!(self, Self::Color | Self::Contrast | Self::Brightness | Self::Sharpness)
    }
}

const COMPOSER: [Kind; 13] = [
    Kind::AutoContrast,
    Kind::Equalize,
    Kind::Posterize,
    Kind::Rotate,
    Kind::Solarize,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateX,
    Kind::TranslateY,
    Kind::Color,
    Kind::Contrast,
    Kind::Brightness,
    Kind::Sharpness,
];
/// The first of [`COMPOSER`], which are no corruptions of ImageNet-C.
const NUM_SAFE: usize = 9;
const TORCHVISION: [Kind; 14] = [
    Kind::Identity,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateX,
    Kind::TranslateY,
    Kind::Rotate,
    Kind::Brightness,
    Kind::Color,
    Kind::Contrast,
    Kind::Sharpness,
    Kind::Posterize,
    Kind::Solarize,
    Kind::AutoContrast,
    Kind::Equalize,
];
/// torchvision's strengths.
const NUM_BINS: usize = 31;

impl Augmentation {
    /// A random operation for rows of `image_size`, px.
    pub(in crate::data) fn draw(&self, image_size: usize, rng: &mut Rng) -> Operation {
        let kinds = self.set.kinds();
        let kind = kinds[rng.below(kinds.len())];
        let sign = if rng.chance(0.5) { -1.0 } else { 1.0 };
        let severity = self.severity as f64;
        match self.set {
            AugmentationSet::Torchvision => torchvision(kind, self.severity, sign, image_size),
            AugmentationSet::All if kind.is_enhancement() => {
                enhance(kind, symmetric_factor(kind, severity, rng))
            }
            AugmentationSet::All | AugmentationSet::Safe | AugmentationSet::Original => {
                composer(kind, rng.range_f64(0.1, severity), sign, image_size)
            }
        }
    }
}

/// Composer's factor: as often below 1 (no change) as above.
fn symmetric_factor(kind: Kind, severity: f64, rng: &mut Rng) -> f64 {
    if rng.chance(0.5) {
        let factor = rng.range_f64(1.0, severity);
        return if kind == Kind::Brightness && factor > 1.0 { factor * 0.75 } else { factor };
    }
    rng.range_f64(1.0 - 0.09 * severity, 1.0)
}

/// Composer's operation at `level` of 10.
pub(in crate::data) fn composer(kind: Kind, level: f64, sign: f64, image_size: usize) -> Operation {
    let of = |most: f64| level * most / 10.0;
    let whole = |most: f64| of(most).trunc();
    let amount = match kind {
        Kind::Posterize => 4.0 - whole(4.0),
        Kind::Solarize => 256.0 - whole(256.0),
        Kind::Rotate => sign * whole(30.0),
        Kind::ShearX | Kind::ShearY => sign * of(0.3),
        Kind::TranslateX | Kind::TranslateY => sign * whole(image_size as f64 / 3.0),
        Kind::Color | Kind::Contrast | Kind::Brightness | Kind::Sharpness => of(1.8) + 0.1,
        Kind::Identity | Kind::AutoContrast | Kind::Equalize => 0.0,
    };
    operation(kind, amount, image_size, Sampling::Bilinear)
}

/// torchvision's operation at strength number `bin`.
pub(in crate::data) fn torchvision(
    kind: Kind,
    bin: usize,
    sign: f64,
    image_size: usize,
) -> Operation {
    let of = |most: f32| f64::from(linspace(0.0, most, bin));
    let amount = match kind {
        Kind::Posterize => 8.0 - (bin as f64 / ((NUM_BINS - 1) as f64 / 4.0)).round_ties_even(),
        Kind::Solarize => f64::from(linspace(255.0, 0.0, bin)),
        Kind::Rotate => sign * of(30.0),
        Kind::ShearX | Kind::ShearY => sign * of(0.3),
        Kind::TranslateX | Kind::TranslateY => {
            // A positive shift moves the image to the right, and what is read to the left.
            -sign * of((150.0 / 331.0 * image_size as f64) as f32).trunc()
        }
        Kind::Color | Kind::Contrast | Kind::Brightness | Kind::Sharpness => 1.0 + sign * of(0.9),
        Kind::Identity | Kind::AutoContrast | Kind::Equalize => 0.0,
    };
    operation(kind, amount, image_size, Sampling::Nearest)
}

/// Number `bin` of `torch.linspace(first, last, 31)`, which counts from the nearer end and rounds once.
fn linspace(first: f32, last: f32, bin: usize) -> f32 {
    let most = NUM_BINS - 1;
    let step = f64::from((last - first) / most as f32);
    let number = if bin < NUM_BINS / 2 {
        f64::from(first) + step * bin as f64
    } else {
        f64::from(last) - step * (most - bin) as f64
    };
    number as f32
}

/// The operation of a kind: `amount` is in degrees, px, bits or a factor.
fn operation(kind: Kind, amount: f64, image_size: usize, sampling: Sampling) -> Operation {
    let affine = |matrix| Operation::Affine(Affine { matrix, sampling });
    // By whole pixels, so that there is nothing between them to be sampled.
    let shift = |matrix| Operation::Affine(Affine { matrix, sampling: Sampling::Nearest });
    match kind {
        Kind::Identity => Operation::Identity,
        Kind::AutoContrast => Operation::AutoContrast,
        Kind::Equalize => Operation::Equalize,
        Kind::Posterize => Operation::Posterize { bits: amount as u32 },
        Kind::Solarize => Operation::Solarize { threshold: amount },
        Kind::Rotate => Operation::Affine(Affine::rotation(amount, image_size, sampling)),
        Kind::ShearX => affine([1.0, amount, 0.0, 0.0, 1.0, 0.0]),
        Kind::ShearY => affine([1.0, 0.0, 0.0, amount, 1.0, 0.0]),
        Kind::TranslateX => shift([1.0, 0.0, amount, 0.0, 1.0, 0.0]),
        Kind::TranslateY => shift([1.0, 0.0, 0.0, 0.0, 1.0, amount]),
        Kind::Color | Kind::Contrast | Kind::Brightness | Kind::Sharpness => enhance(kind, amount),
    }
}

/// The enhancement of a kind by `factor`, 1 for no change.
pub(in crate::data) fn enhance(kind: Kind, factor: f64) -> Operation {
    let factor = factor as f32;
    match kind {
        Kind::Color => Operation::Color { factor },
        Kind::Contrast => Operation::Contrast { factor },
        Kind::Brightness => Operation::Brightness { factor },
        _ => Operation::Sharpness { factor },
    }
}
