//! The pipeline of one sample: span, bytes, crop box, decoded part of the image, resized row. Each
//! thread has its own reader with its scratch memory.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::data::{
    config::{EvalTransform, Geometry, TrainTransform},
    dataset::span_reader::SpanReader,
    image::{
        decode::{Decoder, Part},
        pixels::{Crop, DecodeError, DecodedImage, Size, View},
    },
    index::Index,
    loader::cache::Cache,
    order::plan::Transform,
    rng::Rng,
    transform::{
        crop::{ffcv_crop, random_resized_crop, torchvision_crop},
        operation::Augmenter,
        resize::{Resizer, Target},
    },
};

/// A thread's reader.
pub(in crate::data) struct SampleReader {
    spans: SpanReader,
    file: Vec<u8>,
    decoder: Decoder,
    rows: RowMaker,
    cache: Option<Arc<Cache>>,
    /// The whole resized image, if the crop is taken after the resize.
    whole: Vec<u8>,
    /// Time spent reading, and time spent on everything after it.
    times: [Duration; 2],
}

impl SampleReader {
    /// Use `cache` for decoded training images.
    pub(in crate::data) fn new(cache: Option<Arc<Cache>>) -> Self {
        Self {
            spans: SpanReader::default(),
            file: Vec::new(),
            decoder: Decoder::new(),
            rows: RowMaker::default(),
            cache,
            whole: Vec::new(),
            times: [Duration::ZERO; 2],
        }
    }

    /// Reads sample `i` and makes a row of it: RGB, `[image_size, image_size, 3]`. `rng` draws crop
    /// and flip.
    pub(in crate::data) fn read(
        &mut self,
        (index, i): (&Index, usize),
        how: (&Transform, &mut Rng),
        row: &mut [u8],
    ) -> Result<(), DecodeError> {
        let begin = Instant::now();
        let key = index.key(i);
        let kept = self.cache.as_ref().and_then(|cache| cache.find(key));
        if let (Some(image), Transform::Train { image_size, config }) = (kept, how.0)
            && make_of_whole(&mut self.rows, image, (config, how.1), (*image_size, row))
        {
            self.times[1] += begin.elapsed();
            return Ok(());
        }
        let read = self.spans.read(index, i, &mut self.file);
        let middle = Instant::now();
        let made = read.map_err(DecodeError::from).and_then(|()| self.make(key, how, row));
        self.times[0] += middle - begin;
        self.times[1] += middle.elapsed();
        made
    }

    /// Times spent reading and decoding since the last call.
    pub(in crate::data) fn take_times(&mut self) -> [Duration; 2] {
        std::mem::take(&mut self.times)
    }

    /// Makes a row from the file's bytes.
    fn make(
        &mut self,
        key: usize,
        (transform, rng): (&Transform, &mut Rng),
        row: &mut [u8],
    ) -> Result<(), DecodeError> {
        let image = self.decoder.size(&self.file)?;
        let image_size = transform.image_size();
        match transform {
            Transform::Train { config, .. } => {
                if let Some(cache) = &self.cache
                    && let Some(image) = keep(cache, key, (&mut self.decoder, &self.file))
                    && make_of_whole(&mut self.rows, image, (config, rng), (image_size, row))
                {
                    return Ok(());
                }
                let crop = random_resized_crop(image, config, rng);
                let denominator = if config.dct_scale { denominator(crop, image_size) } else { 1 };
                let view = self.decoder.decode_part(&self.file, Part { crop, denominator })?;
                self.rows.make(view, (config, rng), (image_size, row));
            }
            Transform::Eval(config) => match config.geometry {
                Geometry::Ffcv => {
                    let crop = ffcv_crop(image, config);
                    let part = Part { crop, denominator: 1 };
                    let view = self.decoder.decode_part(&self.file, part)?;
                    let target = Target::new(row, Size::square(image_size));
                    self.rows.resizer.resize(view, config.interpolation, target);
                }
                Geometry::Torchvision => {
                    let (resized, crop) = torchvision_crop(image, config);
                    let image = self.decoder.decode(&self.file)?;
                    self.whole.resize(resized.height * resized.width * 3, 0);
                    let whole = Target::new(&mut self.whole, resized);
                    self.rows.resizer.resize(View::whole(image), config.interpolation, whole);
                    let Size { height, width } = resized;
                    let image = DecodedImage { pixels: &self.whole, width, height };
                    View { image, crop }.copy_to(row);
                }
            },
        }
        Ok(())
    }
}

/// Reads images that are in no data set.
pub struct ImageReader(SampleReader);

impl Default for ImageReader {
    fn default() -> Self {
        Self(SampleReader::new(None))
    }
}

impl ImageReader {
    /// Makes a row of the image at `path`: RGB, `[image_size, image_size, 3]`. An error is the reason why
    /// that is impossible.
    pub fn read(
        &mut self,
        path: &Path,
        transform: &EvalTransform,
        row: &mut [u8],
    ) -> Result<(), String> {
        let index = Index::of_file(path);
        // An evaluation draws nothing.
        let how = (&Transform::Eval(*transform), &mut Rng::keyed(&[]));
        self.0.read((&index, 0), how, row).map_err(|error| error.to_string())
    }
}

/// Decodes an image and caches it, if there is space and it is not cached yet. Returns the decoded
/// image.
fn keep<'a>(
    cache: &Cache,
    key: usize,
    (decoder, file): (&'a mut Decoder, &'a [u8]),
) -> Option<DecodedImage<'a>> {
    if !cache.has_room() || cache.find(key).is_some() {
        return None;
    }
    // A damaged image may still yield a crop, but it is never cached.
    let image = decoder.decode(file).ok()?;
    cache.keep(key, image);
    Some(image)
}

/// Makes a row from a whole image. Returns `false`, without drawing a number, if the crop must be
/// decoded at a reduced scale.
fn make_of_whole(
    rows: &mut RowMaker,
    image: DecodedImage<'_>,
    (config, rng): (&TrainTransform, &mut Rng),
    (image_size, row): (usize, &mut [u8]),
) -> bool {
    let mut drawn = rng.clone();
    let crop = random_resized_crop(image.size(), config, &mut drawn);
    let is_whole = !config.dct_scale || denominator(crop, image_size) == 1;
    if is_whole {
        *rng = drawn;
        rows.make(View { image, crop }, (config, rng), (image_size, row));
    }
    is_whole
}

/// The largest scale denominator at which `crop` is still at least as large as the row.
fn denominator(crop: Crop, image_size: usize) -> usize {
    let factor = crop.height.min(crop.width) / image_size;
    [8, 4, 2].into_iter().find(|&denominator| factor >= denominator).unwrap_or(1)
}

/// Makes rows of crops. Its memory is reused.
#[derive(Default)]
struct RowMaker {
    resizer: Resizer,
    augmenter: Augmenter,
}

impl RowMaker {
    /// Makes a training row from a crop, flipped and augmented at random as `config` says.
    fn make(
        &mut self,
        view: View<'_>,
        (config, rng): (&TrainTransform, &mut Rng),
        (image_size, row): (usize, &mut [u8]),
    ) {
        let is_mirrored = rng.chance(config.hflip);
        let target = Target { is_mirrored, ..Target::new(row, Size::square(image_size)) };
        self.resizer.resize(view, config.interpolation, target);
        if let Some(augmentation) = &config.augmentation {
            self.augmenter.augment((augmentation, rng), (image_size, row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        Augmentation, AugmentationSet,
        config::{EvalTransform, Interpolation, Split},
        fixture,
    };

    /// An index of one file.
    fn index_of(size: Size) -> (tempfile::TempDir, Index) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("train/a/a.jpg");
        fixture::write(&path, &fixture::jpeg(&fixture::image(size, 1), size));
        let index = Index::open(root.path(), Split::Train).unwrap();
        (root, index)
    }

    /// A row of one file in which only the flip is random.
    fn row(hflip: f64, draw: u64) -> Vec<u8> {
        let (_root, index) = index_of(Size { height: 20, width: 20 });
        let config = TrainTransform {
            scale: [1.0, 1.0],
            ratio: [1.0, 1.0],
            hflip,
            ..TrainTransform::default()
        };
        let transform = Transform::Train { image_size: 10, config };
        let mut row = vec![0; 300];
        let rng = &mut Rng::keyed(&[draw]);
        SampleReader::new(None).read((&index, 0), (&transform, rng), &mut row).unwrap();
        row
    }

    #[test]
    fn flips_occur_with_the_given_probability() {
        let plain = row(0.0, 0);
        let flipped = fixture::mirrored(&plain, 10);
        assert_eq!(row(1.0, 0), flipped);
        let num_flipped = (0..200).filter(|&draw| row(0.25, draw) == flipped).count();
        assert!((25..=75).contains(&num_flipped), "{num_flipped} of 200");
    }

    #[test]
    fn a_row_is_augmented_after_its_flip() {
        let (_root, index) = index_of(Size { height: 20, width: 20 });
        let augmentation = Augmentation { depth: 2, severity: 9, set: AugmentationSet::All };
        let plain = TrainTransform::default();
        let augmented = TrainTransform { augmentation: Some(augmentation), ..plain };
        let mut num_changed = 0;
        for draw in 0..40 {
            let [(mut row, mut rng), (expected, _)] = [plain, augmented].map(|config| {
                let (mut row, mut rng) = (vec![0; 300], Rng::keyed(&[draw]));
                let transform = Transform::Train { image_size: 10, config };
                SampleReader::new(None)
                    .read((&index, 0), (&transform, &mut rng), &mut row)
                    .unwrap();
                (row, rng)
            });
            num_changed += usize::from(row != expected);
            Augmenter::default().augment((&augmentation, &mut rng), (10, &mut row));
            assert_eq!(row, expected, "draw {draw}");
        }
        assert!(num_changed > 35, "{num_changed} of 40");
    }

    #[test]
    fn torchvision_geometry_resizes_first_and_crops_afterwards() {
        let (_root, index) = index_of(Size { height: 30, width: 47 });
        let config = EvalTransform {
            resize_size: 16,
            crop_size: 12,
            geometry: Geometry::Torchvision,
            interpolation: Interpolation::Bilinear,
        };
        let mut reader = SampleReader::new(None);
        let transform = Transform::Eval(config);
        let mut row = vec![0; 12 * 12 * 3];
        reader.read((&index, 0), (&transform, &mut Rng::keyed(&[])), &mut row).unwrap();

        let mut whole = vec![0; 16 * 25 * 3];
        let target = Target::new(&mut whole, Size { height: 16, width: 25 });
        let image = reader.decoder.decode(&reader.file).unwrap();
        Resizer::default().resize(View::whole(image), config.interpolation, target);
        for (y, line) in row.chunks(36).enumerate() {
            // 25 - 12 = 13 columns are cut: 6 on the left (round half to even).
            let start = ((y + 2) * 25 + 6) * 3;
            assert_eq!(line, &whole[start..start + 36]);
        }
    }
}
