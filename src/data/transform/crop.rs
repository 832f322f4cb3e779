//! Crop boxes: the random-resized crop of training and the centre crop of evaluation, plus the
//! constants that normalise bytes. Pure geometry, without pixels.

use crate::data::{
    config::{EvalTransform, TrainTransform},
    image::pixels::{Crop, Size},
    rng::Rng,
};

/// Attempts of the random-resized crop before it falls back to the centre crop.
const MAX_TRIES: usize = 10;

/// Random-resized crop with torchvision's distribution (Szegedy et al. 2014, section 6): up to ten
/// draws of area and aspect ratio, then the centre crop at the nearest allowed ratio.
pub fn random_resized_crop(image: Size, config: &TrainTransform, rng: &mut Rng) -> Crop {
    (0..MAX_TRIES)
        .find_map(|_| try_crop(image, config, rng))
        .unwrap_or_else(|| fallback_crop(image, config.ratio))
}

/// One draw; `None` if the box does not fit.
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

/// The largest centred box with an allowed aspect ratio.
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

/// FFCV's evaluation crop: a centred square of `crop / resize` of the short side, to be resized to
/// `crop_size` in one step.
pub fn ffcv_crop(image: Size, config: &EvalTransform) -> Crop {
    let ratio = config.crop_size as f64 / config.resize_size as f64;
    let image_size = (ratio * image.height.min(image.width) as f64) as usize;
    centred(image, Size::square(image_size.max(1)))
}

/// torchvision's evaluation crop: the whole image is resized to the returned size, then the crop is
/// cut from it. `config.crop_size` must not exceed `config.resize_size`.
pub fn torchvision_crop(image: Size, config: &EvalTransform) -> (Size, Crop) {
    let EvalTransform { resize_size: short, crop_size: image_size, .. } = *config;
    let Size { height, width } = image;
    let resized = if width <= height {
        Size { height: short * height / width, width: short }
    } else {
        Size { height: short, width: short * width / height }
    };
    // Python's `round` rounds half to even; FFCV rounds down.
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

/// Scale and shift that normalise a byte, per channel: `byte * scale + shift = (byte / 255 - mean)
/// / std`.
pub fn channel_scale(mean: [f64; 3], std: [f64; 3]) -> ([f64; 3], [f64; 3]) {
    let scale = std.map(|std| 1.0 / (255.0 * std));
    let shift = std::array::from_fn(|c| -mean[c] / std[c]);
    (scale, shift)
}
