//! Where to cut: the random-resized crop of training, the centre crop of evaluation, and the
//! constants that normalise bytes. Pure geometry; no pixels here.

use crate::data::{
    config::{EvalTransform, TrainTransform},
    image::pixels::{Crop, Size},
    rng::Rng,
};

/// Tries of the random-resized crop before it falls back to the centre.
const MAX_TRIES: usize = 10;

/// Random-resized crop with torchvision's law (Szegedy et al. 2014, section 6): up to ten draws
/// of area and aspect ratio, then the centre at the nearest allowed ratio.
pub fn random_resized_crop(image: Size, config: &TrainTransform, rng: &mut Rng) -> Crop {
    (0..MAX_TRIES)
        .find_map(|_| try_crop(image, config, rng))
        .unwrap_or_else(|| fallback_crop(image, config.ratio))
}

/// One draw; nothing where the box does not fit.
pub(in crate::data) fn try_crop(
    image: Size,
    config: &TrainTransform,
    rng: &mut Rng,
) -> Option<Crop> {
    let Size { height, width } = image;
    let area = (height * width) as f64 * rng.range_f64(config.scale[0], config.scale[1]);
    let ratio = rng.range_f64(config.ratio[0].ln(), config.ratio[1].ln()).exp();
    let crop_width = (area * ratio).sqrt().round_ties_even() as usize;
    let crop_height = (area / ratio).sqrt().round_ties_even() as usize;
    if !(1..=width).contains(&crop_width) || !(1..=height).contains(&crop_height) {
        return None;
    }
    let top = rng.below(height - crop_height + 1);
    let left = rng.below(width - crop_width + 1);
    Some(Crop { top, left, height: crop_height, width: crop_width })
}

/// The largest centred box whose ratio is allowed.
pub(in crate::data) fn fallback_crop(image: Size, ratio: [f64; 2]) -> Crop {
    let Size { mut height, mut width } = image;
    let in_ratio = width as f64 / height as f64;
    if in_ratio < ratio[0] {
        height = (width as f64 / ratio[0]).round_ties_even() as usize;
    } else if in_ratio > ratio[1] {
        width = (height as f64 * ratio[1]).round_ties_even() as usize;
    }
    centred(image, Size { height, width })
}

/// FFCV's evaluation crop: a centred square of `crop / resize` of the short side, to be resized
/// to `crop_size` in one go.
pub fn ffcv_crop(image: Size, config: &EvalTransform) -> Crop {
    let ratio = config.crop_size as f64 / config.resize_size as f64;
    let image_size = (ratio * image.height.min(image.width) as f64) as usize;
    centred(image, Size::square(image_size.max(1)))
}

/// torchvision's evaluation crop: the whole image is resized to the returned size, of which the
/// crop is then cut. `config.crop_size` must not exceed `config.resize_size`.
pub fn torchvision_crop(image: Size, config: &EvalTransform) -> (Size, Crop) {
    let EvalTransform { resize_size: short, crop_size: image_size, .. } = *config;
    let Size { height, width } = image;
    let resized = if width <= height {
        Size { height: short * height / width, width: short }
    } else {
        Size { height: short, width: short * width / height }
    };
    // Python's round: half to even, where FFCV rounds down.
    let offset = |length: usize| ((length - image_size) as f64 / 2.0).round_ties_even() as usize;
    let (top, left) = (offset(resized.height), offset(resized.width));
    (resized, Crop { top, left, height: image_size, width: image_size })
}

fn centred(image: Size, crop: Size) -> Crop {
    Crop {
        top: (image.height - crop.height) / 2,
        left: (image.width - crop.width) / 2,
        height: crop.height,
        width: crop.width,
    }
}

/// Factors and terms that normalise a byte: `byte * scale + shift = (byte / 255 - mean) / std`,
/// channel by channel.
pub fn channel_scale(mean: [f64; 3], std: [f64; 3]) -> ([f64; 3], [f64; 3]) {
    let scale = std.map(|std| 1.0 / (255.0 * std));
    let shift = std::array::from_fn(|c| -mean[c] / std[c]);
    (scale, shift)
}
