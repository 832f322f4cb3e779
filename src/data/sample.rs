//! One sample's road: file, picture, box, resized row. Each thread has a reader of its own with
//! all the scratch it needs.

use std::path::Path;

use super::augment::{Crop, Size, ffcv_crop, random_resized_crop, torchvision_crop};
use super::decode::{DecodeError, Decoder, Picture};
use super::random::Rng;
use super::resize::{Resizer, View};
use super::{EvalTransform, Geometry, TrainTransform, Transform};

/// One thread's reader.
pub(super) struct SampleReader {
    decoder: Decoder,
    resizer: Resizer,
    /// The whole picture resized, where the crop comes after.
    resized: Vec<u8>,
    row: Vec<u8>,
}

impl SampleReader {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            resizer: Resizer::default(),
            resized: Vec::new(),
            row: Vec::new(),
        }
    }

    /// Reads a file and makes a row of it: RGB, `[side, side, 3]`. `rng` draws crop and flip.
    pub(super) fn read(
        &mut self,
        path: &Path,
        transform: &Transform,
        rng: &mut Rng,
    ) -> Result<&[u8], DecodeError> {
        let picture = self.decoder.read(path)?;
        let side = transform.side();
        self.row.resize(side * side * 3, 0);
        match transform {
            Transform::Train { config, .. } => {
                train_row(picture, config, rng, (&mut self.resizer, &mut self.row));
            }
            Transform::Eval(config) => {
                let scratch = (&mut self.resizer, &mut self.resized);
                eval_row(picture, config, scratch, &mut self.row);
            }
        }
        Ok(&self.row)
    }
}

fn train_row(
    picture: Picture<'_>,
    config: &TrainTransform,
    rng: &mut Rng,
    (resizer, row): (&mut Resizer, &mut [u8]),
) {
    let side = (row.len() / 3).isqrt();
    let crop = random_resized_crop(picture.size(), config, rng);
    let size = Size { height: side, width: side };
    resizer.resize(View { picture, crop }, size, config.interpolation, row);
    if rng.uniform_f64() < config.hflip {
        flip(row, side);
    }
}

fn eval_row(
    picture: Picture<'_>,
    config: &EvalTransform,
    (resizer, resized): (&mut Resizer, &mut Vec<u8>),
    row: &mut [u8],
) {
    let side = config.crop_size;
    match config.geometry {
        Geometry::Ffcv => {
            let crop = ffcv_crop(picture.size(), config);
            let size = Size { height: side, width: side };
            resizer.resize(View { picture, crop }, size, config.interpolation, row);
        }
        Geometry::Torchvision => {
            let (size, crop) = torchvision_crop(picture.size(), config);
            let Size { height, width } = picture.size();
            let whole = Crop { top: 0, left: 0, height, width };
            resized.resize(size.height * size.width * 3, 0);
            resizer.resize(View { picture, crop: whole }, size, config.interpolation, resized);
            let picture = Picture { pixels: resized, width: size.width, height: size.height };
            let view = View { picture, crop };
            for (y, line) in row.chunks_exact_mut(side * 3).enumerate() {
                line.copy_from_slice(view.row(y));
            }
        }
    }
}

/// Mirrors each line of a row, left to right.
fn flip(row: &mut [u8], side: usize) {
    for line in row.chunks_exact_mut(side * 3) {
        let (left, right) = line.split_at_mut(side / 2 * 3);
        for (a, b) in left.chunks_exact_mut(3).zip(right.rchunks_exact_mut(3)) {
            a.swap_with_slice(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Interpolation, fixture};
    use super::*;

    #[test]
    fn a_flip_mirrors_each_line() {
        let mut row: Vec<u8> = (0..18).collect();
        flip(&mut row[..12], 2);
        assert_eq!(row[..12], [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
        let mut odd: Vec<u8> = (0..9).cycle().take(27).collect();
        flip(&mut odd, 3);
        assert_eq!(odd, [6, 7, 8, 3, 4, 5, 0, 1, 2].repeat(3));
    }

    /// Rows of one file, of which nothing but the flip is left to chance.
    fn row(hflip: f64, draw: u64) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let (path, size) = (folder.path().join("a.jpg"), Size { height: 20, width: 20 });
        fixture::write(&path, &fixture::jpeg(&fixture::picture(size, 1), size));
        let config = TrainTransform {
            scale: [1.0, 1.0],
            ratio: [1.0, 1.0],
            hflip,
            ..TrainTransform::default()
        };
        let transform = Transform::Train { side: 10, config };
        let mut reader = SampleReader::new();
        reader.read(&path, &transform, &mut Rng::keyed(&[draw])).unwrap().to_vec()
    }

    #[test]
    fn flips_occur_as_often_as_asked_for() {
        let plain = row(0.0, 0);
        let mut flipped = plain.clone();
        flip(&mut flipped, 10);
        assert_eq!(row(1.0, 0), flipped);
        let num_flipped = (0..200).filter(|&draw| row(0.25, draw) == flipped).count();
        assert!((25..=75).contains(&num_flipped), "{num_flipped} of 200");
    }

    #[test]
    fn torchvision_geometry_resizes_first_and_cuts_then() {
        let size = Size { height: 30, width: 47 };
        let pixels = fixture::picture(size, 2);
        let picture = Picture { pixels: &pixels, width: 47, height: 30 };
        let config = EvalTransform {
            resize_size: 16,
            crop_size: 12,
            geometry: Geometry::Torchvision,
            interpolation: Interpolation::Bilinear,
        };
        let (mut resizer, mut resized) = (Resizer::default(), Vec::new());
        let mut row = vec![0; 12 * 12 * 3];
        eval_row(picture, &config, (&mut resizer, &mut resized), &mut row);
        assert_eq!(resized.len(), 16 * 25 * 3);
        for (y, line) in row.chunks(36).enumerate() {
            // 25 - 12 = 13 columns are cut: 6 on the left, half to even.
            let start = ((y + 2) * 25 + 6) * 3;
            assert_eq!(line, &resized[start..start + 36]);
        }
    }
}
