//! Colours alone or pixels alone must not solve the data set.

use crate::data::config::Split;
use crate::data::config::SynthConfig;
use crate::data::synth::generator::Generator;

const NUM_CLASSES: usize = 16;
/// Width and height of a thumbnail, px.
const THUMB: usize = 16;
const SIDE: usize = 96;

type DecodedImage = turbojpeg::Image<Vec<u8>>;

#[test]
fn mean_colour_histograms_do_not_separate_classes() {
    for seed in [0, 1] {
        let accuracy = nearest_centroid_accuracy(seed, histogram);
        assert!(accuracy < 0.30, "seed {seed}: {accuracy}");
    }
}

#[test]
fn mean_thumbnails_do_not_separate_classes() {
    for seed in [0, 1] {
        let accuracy = nearest_centroid_accuracy(seed, thumbnail);
        assert!(accuracy < 0.30, "seed {seed}: {accuracy}");
    }
}

/// Fraction of evaluation images whose features are nearest to the mean of their own class in
/// training.
fn nearest_centroid_accuracy(seed: u64, features: fn(&DecodedImage) -> Vec<f32>) -> f64 {
    let (num_train, num_eval) = (640, 320);
    let config = SynthConfig { num_train, num_eval, size: SIDE, seed, ..SynthConfig::default() };
    let generator = Generator::new(&config).unwrap();
    let mut painter = generator.painter().unwrap();
    let mut look = |split, index| {
        let jpeg = painter.jpeg(split, index).unwrap();
        features(&turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).unwrap())
    };
    let mut centroids: Vec<Vec<f32>> = vec![Vec::new(); NUM_CLASSES];
    for index in 0..num_train {
        let found = look(Split::Train, index);
        let centroid = &mut centroids[generator.class(index)];
        centroid.resize(found.len(), 0.0);
        let fraction = NUM_CLASSES as f32 / num_train as f32;
        centroid.iter_mut().zip(found).for_each(|(mean, value)| *mean += fraction * value);
    }
    let mut num_correct = 0;
    for index in 0..num_eval {
        let found = look(Split::Eval, index);
        let distance = |class: &usize| squared_distance(&found, &centroids[*class]);
        let nearest = (0..NUM_CLASSES).min_by(|a, b| distance(a).total_cmp(&distance(b)));
        num_correct += usize::from(nearest == Some(generator.class(index)));
    }
    num_correct as f64 / num_eval as f64
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Histogram of 8 x 8 x 8 colours, as fractions.
fn histogram(image: &DecodedImage) -> Vec<f32> {
    let mut counts = vec![0.0; 512];
    for pixel in image.pixels.as_chunks::<3>().0 {
        let [r, g, b] = pixel.map(|level| usize::from(level >> 5));
        counts[64 * r + 8 * g + b] += 1.0;
    }
    let num_pixels = (image.width * image.height) as f32;
    counts.iter().map(|count| count / num_pixels).collect()
}

/// The centre square, reduced to 16 x 16 px by box averages: `[16, 16, 3]`.
fn thumbnail(image: &DecodedImage) -> Vec<f32> {
    let side = image.width.min(image.height);
    let (left, top) = ((image.width - side) / 2, (image.height - side) / 2);
    let mut sums = vec![[0.0_f32; 4]; THUMB * THUMB];
    for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
        let at = (top + y) * image.pitch + 3 * (left + x);
        let sum = &mut sums[y * THUMB / side * THUMB + x * THUMB / side];
        for (sum, &level) in sum.iter_mut().zip(&image.pixels[at..at + 3]) {
            *sum += f32::from(level);
        }
        sum[3] += 1.0;
    }
    sums.iter().flat_map(|&[r, g, b, n]| [r / n, g / n, b / n]).collect()
}
