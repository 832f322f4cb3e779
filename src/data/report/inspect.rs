//! Summarizes a data set: counts, sizes, and a contact sheet of images and training crops.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use crate::data::{
    config::{EvalTransform, TrainTransform},
    dataset::span_reader::SpanReader,
    error::DataError,
    image::{
        decode::Decoder,
        exif::orientation,
        pixels::{DecodeError, IMPORT_IT, Size},
    },
    index::Index,
    loader::sample::SampleReader,
    order::plan::Transform,
    rng::Rng,
};

/// Separates the random choice of images from other uses of the same seed.
const INSPECT_STREAM: u64 = 0x0069_6e73_7065;

/// Minimum, median and maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// The minimum.
    pub least: f64,
    /// The median.
    pub median: f64,
    /// The maximum.
    pub greatest: f64,
}

/// The contents of one split.
#[derive(Clone, Debug)]
pub struct SplitSurvey {
    /// Number of images.
    pub num_images: usize,
    /// Names of the classes in the order of their labels, and their numbers of images.
    pub classes: Vec<(String, usize)>,
    /// Hidden files and folders that were left out.
    pub num_hidden: u32,
    /// Images per class.
    pub class_sizes: Quantiles,
    /// Images whose files were read; the following fields are of these.
    pub num_looked_at: usize,
    /// Widths, px.
    pub widths: Quantiles,
    /// Heights, px.
    pub heights: Quantiles,
    /// Aspect ratios (width / height).
    pub aspects: Quantiles,
    /// File sizes.
    pub bytes: Quantiles,
    /// Progressive JPEGs, which decode three times as slowly.
    pub num_progressive: usize,
    /// JPEGs with restart markers, whose parts can be decoded alone.
    pub num_with_restarts: usize,
    /// Images with an Exif orientation other than upright.
    pub num_turned: usize,
    /// JPEGs that decode whole although the decoder warns of them: stray bytes before the end.
    pub num_warned: usize,
    /// Images without a valid header, or that do not decode, with the reason.
    pub bad: Vec<(PathBuf, String)>,
    /// Those of the bad images that `data import` reads and training does not.
    pub importable: Vec<PathBuf>,
}

impl SplitSurvey {
    /// The error of images that training does not read in place, if there are any.
    pub fn not_in_place(&self) -> Option<DataError> {
        let (path, num_images) = (self.importable.first()?.clone(), self.importable.len());
        Some(DataError::NotInPlace { path, num_images, fix: IMPORT_IT })
    }
}

/// Images of a survey that are decoded to their end, if not all are.
const NUM_DECODED: usize = 64;

/// Reads `num` images of a split, chosen by `seed`, and decodes the first of them.
pub fn survey(index: &Index, num: usize, seed: u64) -> SplitSurvey {
    survey_decoding(index, (num, NUM_DECODED), seed)
}

/// Reads and decodes all images of a split, on this thread.
pub fn full_survey(index: &Index) -> SplitSurvey {
    survey_decoding(index, (index.len(), index.len()), 0)
}

fn survey_decoding(index: &Index, (num, num_decoded): (usize, usize), seed: u64) -> SplitSurvey {
    let mut class_sizes = vec![0; index.num_classes()];
    (0..index.len()).for_each(|i| class_sizes[index.label(i)] += 1);
    let (mut spans, mut decoder, mut file) = (SpanReader::default(), Decoder::new(), Vec::new());
    let (mut sizes, mut bytes) = (Vec::new(), Vec::new());
    let (mut bad, mut importable) = (Vec::new(), Vec::new());
    let (mut num_progressive, mut num_with_restarts, mut num_turned) = (0, 0, 0);
    let mut num_warned = 0;
    let samples = choose(index, num, seed);
    for (place, &i) in samples.iter().enumerate() {
        let size = spans.read(index, i, &mut file).map_err(DecodeError::from);
        let size = size.and_then(|()| decoder.size(&file)).and_then(|size| {
            if place < num_decoded {
                decoder.decode(&file)?;
                num_warned += usize::from(decoder.warning().is_some());
            }
            Ok(size)
        });
        match size {
            Err(error) => {
                if let DecodeError::Importable(_) = error {
                    importable.push(index.path(i));
                }
                bad.push((index.path(i), error.to_string()));
            }
            Ok(size) => {
                sizes.push(size);
                bytes.push(file.len() as f64);
                let markers = markers(&file);
                num_progressive += usize::from(markers.contains(&0xc2));
                num_with_restarts += usize::from(markers.contains(&0xdd));
                num_turned += usize::from(orientation(&file).is_some());
            }
        }
    }
    let of = |measure: fn(&Size) -> f64| quantiles(sizes.iter().map(measure).collect());
    SplitSurvey {
        num_images: index.len(),
        class_sizes: quantiles(class_sizes.iter().map(|&size| size as f64).collect()),
        classes: index.classes().iter().cloned().zip(class_sizes).collect(),
        num_hidden: index.num_hidden(),
        num_looked_at: samples.len(),
        widths: of(|size| size.width as f64),
        heights: of(|size| size.height as f64),
        aspects: of(|size| size.width as f64 / size.height as f64),
        bytes: quantiles(bytes),
        num_progressive,
        num_with_restarts,
        num_turned,
        num_warned,
        bad,
        importable,
    }
}

/// Up to `num` different samples.
fn choose(index: &Index, num: usize, seed: u64) -> Vec<usize> {
    let mut samples: Vec<usize> = (0..index.len()).collect();
    if num < samples.len() {
        let mut rng = Rng::keyed(&[INSPECT_STREAM, seed]);
        for i in 0..num {
            let other = i + rng.below(samples.len() - i);
            samples.swap(i, other);
        }
        samples.truncate(num);
    }
    samples
}

fn quantiles(mut values: Vec<f64>) -> Quantiles {
    values.sort_unstable_by(f64::total_cmp);
    let (Some(&least), Some(&greatest)) = (values.first(), values.last()) else {
        return Quantiles::default();
    };
    Quantiles { least, median: values[values.len() / 2], greatest }
}

/// The markers of a JPEG up to its first scan.
fn markers(file: &[u8]) -> Vec<u8> {
    let (mut at, mut found) = (2, Vec::new());
    while let Some(&[0xff, marker, high, low]) = file.get(at..at + 4) {
        found.push(marker);
        if marker == 0xda {
            break;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    found
}

/// Images per row of a sheet.
const COLUMNS: usize = 8;
/// Rows of images, followed by as many rows of crops.
const ROWS: usize = 4;
/// Size of an image on a sheet, px.
const IMAGE_SIZE: usize = 128;

/// Writes a PNG of random images, cropped to a square, and of their default training crops below
/// them.
pub fn contact_sheet(index: &Index, seed: u64, path: &Path) -> Result<(), DataError> {
    let whole = EvalTransform {
        resize_size: IMAGE_SIZE,
        crop_size: IMAGE_SIZE,
        ..EvalTransform::default()
    };
    let crop = Transform::Train { image_size: IMAGE_SIZE, config: TrainTransform::default() };
    let mut sheet = vec![255; 2 * ROWS * COLUMNS * IMAGE_SIZE * IMAGE_SIZE * 3];
    let (mut reader, mut pixels) = (SampleReader::new(None), vec![0; IMAGE_SIZE * IMAGE_SIZE * 3]);
    for (place, &i) in choose(index, ROWS * COLUMNS, seed).iter().enumerate() {
        for (row, transform) in [(0, Transform::Eval(whole)), (ROWS, crop)] {
            let rng = &mut Rng::keyed(&[INSPECT_STREAM, seed, i as u64]);
            // The cell of a bad image stays white; `survey` reports the image.
            if reader.read((index, i), (&transform, rng), &mut pixels).is_ok() {
                put(&mut sheet, (row + place / COLUMNS, place % COLUMNS), &pixels);
            }
        }
    }
    write_png(path, &sheet).map_err(|source| DataError::Sheet { path: path.to_owned(), source })
}

fn put(sheet: &mut [u8], (row, column): (usize, usize), pixels: &[u8]) {
    for (y, line) in pixels.chunks_exact(IMAGE_SIZE * 3).enumerate() {
        let start = ((row * IMAGE_SIZE + y) * COLUMNS + column) * IMAGE_SIZE * 3;
        sheet[start..start + IMAGE_SIZE * 3].copy_from_slice(line);
    }
}

fn write_png(path: &Path, pixels: &[u8]) -> io::Result<()> {
    let out = BufWriter::new(File::create(path)?);
    let mut encoder =
        png::Encoder::new(out, (COLUMNS * IMAGE_SIZE) as u32, (2 * ROWS * IMAGE_SIZE) as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{config::Split, fixture, image::importable::Importable};

    #[test]
    fn a_survey_counts_images_and_names_bad_ones() {
        let root = fixture::data_set(5, 1);
        let bad = root.path().join("train/b/002.JPEG");
        fixture::write(&bad, b"GIF89a");
        let index = Index::open(root.path(), Split::Train).unwrap();
        let survey = survey(&index, 100, 0);
        assert_eq!((survey.num_images, survey.num_looked_at), (15, 15));
        assert_eq!(survey.classes, ["a", "b", "c"].map(|name| (name.to_owned(), 5)));
        assert_eq!(survey.widths, Quantiles { least: 36.0, median: 38.0, greatest: 40.0 });
        assert_eq!(survey.heights, Quantiles { least: 24.0, median: 30.0, greatest: 36.0 });
        let five = Quantiles { least: 5.0, median: 5.0, greatest: 5.0 };
        assert_eq!(survey.class_sizes, five);
        let reason = DecodeError::Importable(Importable::Gif).to_string();
        assert_eq!(survey.bad, [(bad.clone(), reason)]);
        let error = survey.not_in_place().unwrap().to_string();
        assert!(error.starts_with("1 of the images are no JPEGs or PNGs"), "{error}");
        assert_eq!(survey.importable, [bad]);
        let some = super::survey(&index, 4, 0);
        assert_eq!(some.num_looked_at, 4);
        let mut chosen = choose(&index, 9, 1);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 9);
    }

    #[test]
    fn a_survey_decodes_images_and_finds_truncated_ones() {
        let root = fixture::data_set(5, 1);
        let bad = root.path().join("train/b/002.JPEG");
        let file = std::fs::read(&bad).unwrap();
        fixture::write(&bad, &file[..file.len() * 2 / 3]);
        let index = Index::open(root.path(), Split::Train).unwrap();
        for survey in [survey(&index, 100, 0), full_survey(&index)] {
            assert_eq!(survey.num_looked_at, 15);
            assert_eq!(survey.bad.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&bad]);
        }
    }

    #[test]
    fn stray_bytes_before_the_end_are_counted_and_the_image_is_good() {
        let root = fixture::data_set(2, 1);
        let path = root.path().join("train/b/001.JPEG");
        let file = std::fs::read(&path).unwrap();
        let (image, end) = file.split_at(file.len() - 2);
        // The decoder has read some bytes ahead; it warns of those that it finds later.
        fixture::write(&path, &[image, &[7; 64], end].concat());
        let index = Index::open(root.path(), Split::Train).unwrap();
        let survey = full_survey(&index);
        assert_eq!((survey.num_warned, survey.bad.len()), (1, 0));
    }

    #[test]
    fn a_sheet_shows_images_above_and_crops_below() {
        let root = fixture::data_set(1, 1);
        let index = Index::open(root.path(), Split::Train).unwrap();
        let path = root.path().join("sheet.png");
        contact_sheet(&index, 0, &path).unwrap();
        let decoder = png::Decoder::new(io::BufReader::new(File::open(&path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (1024, 1024));
        let white = |x: usize, y: usize| pixels[(y * 1024 + x) * 3..][..3] == [255; 3];
        // The first row of each half has three images.
        for (x, y, expected) in [(64, 64, false), (320, 64, false), (448, 64, true)] {
            assert_eq!((white(x, y), white(x, y + 512)), (expected, expected), "{x}");
        }
        let missing = contact_sheet(&index, 0, Path::new("/nowhere/sheet.png")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/sheet.png"), "{missing}");
    }
}
