//! Resizes a crop box of an image. Pixels outside the box are never read: filters that read them
//! differ from torchvision by up to 17 of 255, filters that do not by one or two.

use crate::data::{
    config::Interpolation,
    image::pixels::{Size, View},
    transform::convolve::Convolution,
};

/// The destination of a resized image: RGB, `[height, width, 3]`.
pub(in crate::data) struct Target<'a> {
    pub(in crate::data) pixels: &'a mut [u8],
    pub(in crate::data) size: Size,
    /// Flip horizontally.
    pub(in crate::data) is_mirrored: bool,
}

impl<'a> Target<'a> {
    /// A target without a flip.
    pub(in crate::data) fn new(pixels: &'a mut [u8], size: Size) -> Self {
        Self { pixels, size, is_mirrored: false }
    }
}

/// A thread's resizer.
#[derive(Default)]
pub(in crate::data) struct Resizer(Convolution);

impl Resizer {
    /// Fills `target` with `view`.
    pub(in crate::data) fn resize(
        &mut self,
        view: View<'_>,
        filter: Interpolation,
        target: Target<'_>,
    ) {
        match filter {
            Interpolation::Area => self.0.area(view, target),
            Interpolation::Bilinear => self.0.bilinear(view, target),
            Interpolation::Bicubic => self.0.bicubic(view, target),
            Interpolation::Nearest => nearest(view, target),
        }
    }
}

/// Takes the pixels that contain the centres of the new ones.
fn nearest(view: View<'_>, target: Target<'_>) {
    let Target { pixels, size: Size { height, width }, is_mirrored } = target;
    let source = |i: usize, from: usize, to: usize| (2 * i + 1) * from / (2 * to);
    for (y, row) in pixels.chunks_exact_mut(width * 3).enumerate() {
        let line = view.row(source(y, view.crop.height, height));
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let x = if is_mirrored { width - 1 - x } else { x };
            pixel.copy_from_slice(&line[source(x, view.crop.width, width) * 3..][..3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::data::image::pixels::{Crop, DecodedImage};
    use fast_image_resize::images::Image;
    use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions};

    use super::*;
    use crate::data::{fixture, rng::Rng};

    const FILTERS: [Interpolation; 4] = [
        Interpolation::Area,
        Interpolation::Bilinear,
        Interpolation::Bicubic,
        Interpolation::Nearest,
    ];

    fn resize(view: View<'_>, size: Size, filter: Interpolation) -> Vec<u8> {
        let mut out = vec![0; size.height * size.width * 3];
        Resizer::default().resize(view, filter, Target::new(&mut out, size));
        out
    }

    #[test]
    fn nothing_outside_the_box_is_read() {
        let size = Size { height: 31, width: 43 };
        let pixels = fixture::image(size, 1);
        let crop = Crop { top: 5, left: 9, height: 20, width: 30 };
        let image = DecodedImage { pixels: &pixels, width: size.width, height: size.height };
        let view = View { image, crop };
        let mut cut = vec![0; crop.height * crop.width * 3];
        view.copy_to(&mut cut);
        let alone =
            View::whole(DecodedImage { pixels: &cut, width: crop.width, height: crop.height });
        for filter in FILTERS {
            for (height, width) in [(12, 13), (40, 50), (12, 50), (20, 30)] {
                let size = Size { height, width };
                assert_eq!(resize(view, size, filter), resize(alone, size, filter), "{filter:?}");
            }
        }
    }

    /// One image resized by `fast_image_resize`, whose bilinear and bicubic filters agree with
    /// Pillow's to one level.
    fn oracle(view: View<'_>, size: Size, filter: ResizeAlg) -> Vec<u8> {
        let mut cut = vec![0; view.crop.height * view.crop.width * 3];
        view.copy_to(&mut cut);
        let image = |width: usize, height: usize, pixels| {
            Image::from_vec_u8(width as u32, height as u32, pixels, PixelType::U8x3).unwrap()
        };
        let source = image(view.crop.width, view.crop.height, cut);
        let mut out = image(size.width, size.height, vec![0; size.height * size.width * 3]);
        let options = ResizeOptions::new().resize_alg(filter);
        fast_image_resize::Resizer::new().resize(&source, &mut out, &options).unwrap();
        out.into_vec()
    }

    #[test]
    fn pixels_match_another_resizer() {
        let mut rng = Rng::keyed(&[9]);
        for round in 0..120 {
            let mut image_size = || 1 + rng.below(70);
            let (from, to) = (
                Size { height: image_size(), width: image_size() },
                Size { height: image_size(), width: image_size() },
            );
            let pixels: Vec<u8> =
                (0..from.height * from.width * 3)
                    // Noise, and hard edges at which a cubic kernel overshoots.
                    .map(|i| {
                        if round % 2 == 0 { rng.next_u64() as u8 } else { 255 * (i / 15 % 2) as u8 }
                    })
                    .collect();
            let view = View::whole(DecodedImage {
                pixels: &pixels,
                width: from.width,
                height: from.height,
            });
            let bilinear = oracle(view, to, ResizeAlg::Convolution(FilterType::Bilinear));
            // Columns first, then rows, each rounded to bytes.
            let cubic = ResizeAlg::Convolution(FilterType::CatmullRom);
            let between = Size { height: from.height, width: to.width };
            let columns = oracle(view, between, cubic);
            let columns = View::whole(DecodedImage {
                pixels: &columns,
                width: to.width,
                height: from.height,
            });
            let bicubic = oracle(columns, to, cubic);
            // Rounding errors after the first pass of a cubic kernel may grow in the second.
            for (filter, expected, limit) in
                [(Interpolation::Bilinear, bilinear, 1), (Interpolation::Bicubic, bicubic, 2)]
            {
                let out = resize(view, to, filter);
                let most = out.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(most <= limit, "{filter:?} from {from:?} to {to:?}: {most} apart");
            }
            // With an even size, a centre may fall between two pixels; then both are nearest.
            if from.height % 2 == 1 && from.width % 2 == 1 {
                let nearest = oracle(view, to, ResizeAlg::Nearest);
                assert!(resize(view, to, Interpolation::Nearest) == nearest, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn an_unchanged_size_changes_nothing() {
        let size = Size { height: 9, width: 14 };
        let pixels = fixture::image(size, 2);
        let image = DecodedImage { pixels: &pixels, width: 14, height: 9 };
        let view = View::whole(image);
        for filter in FILTERS {
            assert_eq!(resize(view, size, filter), pixels, "{filter:?}");
        }
    }

    #[test]
    fn a_mirrored_target_is_the_flipped_plain_one() {
        let size = Size { height: 23, width: 31 };
        let pixels = fixture::image(size, 4);
        let view = View::whole(DecodedImage { pixels: &pixels, width: 31, height: 23 });
        for filter in FILTERS {
            for (height, width) in [(9, 14), (40, 33), (1, 3)] {
                let size = Size { height, width };
                let mut out = vec![0; height * width * 3];
                let target = Target { is_mirrored: true, ..Target::new(&mut out, size) };
                Resizer::default().resize(view, filter, target);
                let plain = resize(view, size, filter);
                assert_eq!(out, fixture::mirrored(&plain, width), "{filter:?} to {size:?}");
            }
        }
    }

    #[test]
    fn flat_images_stay_flat() {
        let pixels = [200, 3, 255].repeat(23 * 17);
        let image = DecodedImage { pixels: &pixels, width: 23, height: 17 };
        let view = View::whole(image);
        for filter in FILTERS {
            for (height, width) in [(5, 7), (16, 22), (18, 24), (50, 3), (1, 1)] {
                let out = resize(view, Size { height, width }, filter);
                assert_eq!(out, [200, 3, 255].repeat(height * width), "{filter:?} {height}");
            }
        }
    }

    #[test]
    fn area_by_integer_factors_is_the_mean_of_blocks() {
        let size = Size { height: 6, width: 8 };
        let pixels = fixture::image(size, 3);
        let image = DecodedImage { pixels: &pixels, width: 8, height: 6 };
        let view = View::whole(image);
        let out = resize(view, Size { height: 2, width: 4 }, Interpolation::Area);
        for (i, &byte) in out.iter().enumerate() {
            let (y, x, channel) = (i / 12, i / 3 % 4, i % 3);
            let block = (0..3).flat_map(|dy| (0..2).map(move |dx| (y * 3 + dy, x * 2 + dx)));
            let sum: f64 = block.map(|(y, x)| f64::from(pixels[(y * 8 + x) * 3 + channel])).sum();
            assert!((f64::from(byte) - sum / 6.0).abs() <= 0.5 + 1e-4, "{i}");
        }
    }

    #[test]
    fn area_takes_the_same_pixel_as_opencv_at_ties() {
        // One axis grows, so each column takes the neighbour at 2.6 x. In OpenCV's arithmetic 5 x
        // 2.6 is just below 13. The expected values are OpenCV's output:
        let expected = [4, 17, 34, 48, 65, 72, 95, 112, 126, 143].repeat(3);
        let pixels: Vec<u8> = (0..2 * 26).flat_map(|i| [(i % 26) as u8 * 6; 3]).collect();
        let view = View::whole(DecodedImage { pixels: &pixels, width: 26, height: 2 });
        let out = resize(view, Size { height: 3, width: 10 }, Interpolation::Area);
        let close = |(pixel, expected): (&[u8], &u8)| pixel[0].abs_diff(*expected) <= 1;
        assert!(out.chunks(3).zip(&expected).all(close), "{out:?}");
    }
}
