//! One sample's road: file, picture, box, resized row. Each thread has a reader of its own with
//! all the scratch it needs.

use std::path::Path;

use super::augment::{Size, ffcv_crop, random_resized_crop, torchvision_crop};
use super::decode::{DecodeError, Decoder, Picture};
use super::random::Rng;
use super::resize::{Resizer, Target, View};
use super::{Geometry, Transform};

/// One thread's reader.
pub(super) struct SampleReader {
    decoder: Decoder,
    resizer: Resizer,
    /// The whole picture resized, where the crop comes after.
    whole: Vec<u8>,
    row: Vec<u8>,
}

impl SampleReader {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            resizer: Resizer::default(),
            whole: Vec::new(),
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
        let target = Target { pixels: &mut self.row, size: Size::square(side) };
        match transform {
            Transform::Train { config, .. } => {
                let crop = random_resized_crop(picture.size(), config, rng);
                self.resizer.resize(View { picture, crop }, config.interpolation, target);
                if rng.chance(config.hflip) {
                    flip(&mut self.row, side);
                }
            }
            Transform::Eval(config) => match config.geometry {
                Geometry::Ffcv => {
                    let crop = ffcv_crop(picture.size(), config);
                    self.resizer.resize(View { picture, crop }, config.interpolation, target);
                }
                Geometry::Torchvision => {
                    let (resized, crop) = torchvision_crop(picture.size(), config);
                    self.whole.resize(resized.height * resized.width * 3, 0);
                    let whole = Target { pixels: &mut self.whole, size: resized };
                    self.resizer.resize(View::whole(picture), config.interpolation, whole);
                    let Size { height, width } = resized;
                    let picture = Picture { pixels: &self.whole, width, height };
                    View { picture, crop }.copy_to(&mut self.row);
                }
            },
        }
        Ok(&self.row)
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
    use super::super::{EvalTransform, Interpolation, TrainTransform, fixture};
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
        let folder = tempfile::tempdir().unwrap();
        let (path, size) = (folder.path().join("a.jpg"), Size { height: 30, width: 47 });
        fixture::write(&path, &fixture::jpeg(&fixture::picture(size, 1), size));
        let config = EvalTransform {
            resize_size: 16,
            crop_size: 12,
            geometry: Geometry::Torchvision,
            interpolation: Interpolation::Bilinear,
        };
        let mut reader = SampleReader::new();
        let transform = Transform::Eval(config);
        let row = reader.read(&path, &transform, &mut Rng::keyed(&[])).unwrap().to_vec();

        let mut whole = vec![0; 16 * 25 * 3];
        let target = Target { pixels: &mut whole, size: Size { height: 16, width: 25 } };
        let picture = reader.decoder.read(&path).unwrap();
        Resizer::default().resize(View::whole(picture), config.interpolation, target);
        for (y, line) in row.chunks(36).enumerate() {
            // 25 - 12 = 13 columns are cut: 6 on the left, half to even.
            let start = ((y + 2) * 25 + 6) * 3;
            assert_eq!(line, &whole[start..start + 36]);
        }
    }
}
