//! Resizes a box of a picture. Neighbours outside the box are never read: filters that do so
//! differ from torchvision by up to 17 of 255, filters that do not by one or two.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};

use super::Interpolation;
use super::area::Area;
use super::augment::{Crop, Size};
use super::decode::Picture;

/// A box of a picture.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) picture: Picture<'a>,
    pub(super) crop: Crop,
}

impl<'a> View<'a> {
    /// All of a picture.
    pub(super) fn whole(picture: Picture<'a>) -> Self {
        let Picture { height, width, .. } = picture;
        Self { picture, crop: Crop { top: 0, left: 0, height, width } }
    }

    /// Row `y` of the box, `[width * 3]`.
    pub(super) fn row(&self, y: usize) -> &'a [u8] {
        let start = ((self.crop.top + y) * self.picture.width + self.crop.left) * 3;
        &self.picture.pixels[start..start + self.crop.width * 3]
    }

    /// Copies the box as it is; `out` is `[height, width, 3]`.
    pub(super) fn copy_to(&self, out: &mut [u8]) {
        for (y, line) in out.chunks_exact_mut(self.crop.width * 3).enumerate() {
            line.copy_from_slice(self.row(y));
        }
    }
}

/// Where a resized picture goes: RGB, `[height, width, 3]`.
pub(super) struct Target<'a> {
    pub(super) pixels: &'a mut [u8],
    pub(super) size: Size,
}

/// One thread's resizer.
#[derive(Default)]
pub(super) struct Resizer {
    area: Area,
    convolution: fast_image_resize::Resizer,
    /// A picture between two passes.
    between: Vec<u8>,
}

impl Resizer {
    /// Fills `target` with `view`.
    pub(super) fn resize(&mut self, view: View<'_>, filter: Interpolation, target: Target<'_>) {
        match filter {
            Interpolation::Area => self.area.resize(view, target),
            Interpolation::Bilinear => {
                let filter = ResizeAlg::Convolution(FilterType::Bilinear);
                convolve(&mut self.convolution, view, filter, target);
            }
            Interpolation::Bicubic => self.resize_bicubic(view, target),
            Interpolation::Nearest => {
                convolve(&mut self.convolution, view, ResizeAlg::Nearest, target);
            }
        }
    }

    /// Columns first, as Pillow 9.5: a cubic overshoots, and what overshoots is cut off between
    /// the passes, so their order shows by up to 25 of 255.
    fn resize_bicubic(&mut self, view: View<'_>, target: Target<'_>) {
        let filter = ResizeAlg::Convolution(FilterType::CatmullRom);
        let size = Size { height: view.crop.height, width: target.size.width };
        self.between.resize(size.height * size.width * 3, 0);
        let between = Target { pixels: &mut self.between, size };
        convolve(&mut self.convolution, view, filter, between);
        let Size { height, width } = size;
        let between = View::whole(Picture { pixels: &self.between, width, height });
        convolve(&mut self.convolution, between, filter, target);
    }
}

fn convolve(
    resizer: &mut fast_image_resize::Resizer,
    View { picture, crop }: View<'_>,
    filter: ResizeAlg,
    Target { pixels, size }: Target<'_>,
) {
    let Picture { width, height, .. } = picture;
    let whole = TypedImageRef::<U8x3>::from_buffer(width as u32, height as u32, picture.pixels)
        .expect("a picture holds its pixels");
    let source = TypedCroppedImage::from_ref(
        &whole,
        crop.left as u32,
        crop.top as u32,
        crop.width as u32,
        crop.height as u32,
    )
    .expect("the box lies in the picture");
    let mut target = TypedImage::<U8x3>::from_buffer(size.width as u32, size.height as u32, pixels)
        .expect("the target has room for its size");
    let options = ResizeOptions::new().resize_alg(filter);
    resizer
        .resize_typed(&source, &mut target, &options)
        .expect("source and target hold pixels of one type");
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    const FILTERS: [Interpolation; 4] = [
        Interpolation::Area,
        Interpolation::Bilinear,
        Interpolation::Bicubic,
        Interpolation::Nearest,
    ];

    fn resize(view: View<'_>, size: Size, filter: Interpolation) -> Vec<u8> {
        let mut out = vec![0; size.height * size.width * 3];
        Resizer::default().resize(view, filter, Target { pixels: &mut out, size });
        out
    }

    #[test]
    fn nothing_outside_the_box_is_read() {
        let size = Size { height: 31, width: 43 };
        let pixels = fixture::picture(size, 1);
        let crop = Crop { top: 5, left: 9, height: 20, width: 30 };
        let picture = Picture { pixels: &pixels, width: size.width, height: size.height };
        let view = View { picture, crop };
        let mut cut = vec![0; crop.height * crop.width * 3];
        view.copy_to(&mut cut);
        let alone = View::whole(Picture { pixels: &cut, width: crop.width, height: crop.height });
        for filter in FILTERS {
            for (height, width) in [(12, 13), (40, 50), (12, 50), (20, 30)] {
                let size = Size { height, width };
                assert_eq!(resize(view, size, filter), resize(alone, size, filter), "{filter:?}");
            }
        }
    }

    #[test]
    fn an_unchanged_size_changes_nothing() {
        let size = Size { height: 9, width: 14 };
        let pixels = fixture::picture(size, 2);
        let picture = Picture { pixels: &pixels, width: 14, height: 9 };
        let view = View::whole(picture);
        for filter in FILTERS {
            assert_eq!(resize(view, size, filter), pixels, "{filter:?}");
        }
    }

    #[test]
    fn flat_pictures_stay_flat() {
        let pixels = [200, 3, 255].repeat(23 * 17);
        let picture = Picture { pixels: &pixels, width: 23, height: 17 };
        let view = View::whole(picture);
        for filter in FILTERS {
            for (height, width) in [(5, 7), (16, 22), (18, 24), (50, 3), (1, 1)] {
                let out = resize(view, Size { height, width }, filter);
                assert_eq!(out, [200, 3, 255].repeat(height * width), "{filter:?} {height}");
            }
        }
    }

    #[test]
    fn area_by_whole_factors_is_the_mean_of_blocks() {
        let size = Size { height: 6, width: 8 };
        let pixels = fixture::picture(size, 3);
        let picture = Picture { pixels: &pixels, width: 8, height: 6 };
        let view = View::whole(picture);
        let out = resize(view, Size { height: 2, width: 4 }, Interpolation::Area);
        for (i, &byte) in out.iter().enumerate() {
            let (y, x, channel) = (i / 12, i / 3 % 4, i % 3);
            let block = (0..3).flat_map(|dy| (0..2).map(move |dx| (y * 3 + dy, x * 2 + dx)));
            let sum: f64 = block.map(|(y, x)| f64::from(pixels[(y * 8 + x) * 3 + channel])).sum();
            assert!((f64::from(byte) - sum / 6.0).abs() <= 0.5 + 1e-4, "{i}");
        }
    }

    #[test]
    fn area_takes_the_pixel_that_opencv_takes_where_positions_meet() {
        // One axis grows, so each column takes the neighbour at 2.6 x; 5 x 2.6 falls short of 13
        // in OpenCV's arithmetic. Its own result:
        let expected = [4, 17, 34, 48, 65, 72, 95, 112, 126, 143].repeat(3);
        let pixels: Vec<u8> = (0..2 * 26).flat_map(|i| [(i % 26) as u8 * 6; 3]).collect();
        let view = View::whole(Picture { pixels: &pixels, width: 26, height: 2 });
        let out = resize(view, Size { height: 3, width: 10 }, Interpolation::Area);
        let close = |(pixel, expected): (&[u8], &u8)| pixel[0].abs_diff(*expected) <= 1;
        assert!(out.chunks(3).zip(&expected).all(close), "{out:?}");
    }
}
