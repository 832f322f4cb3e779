//! Compares crop distributions, crop geometry, resized pixels and normalisation with torchvision,
//! FFCV, PIL and `OpenCV`.

use serde_json::Value;

use crate::data::{
    Crop, EvalTransform, Interpolation, Rng, Size, TrainTransform, channel_scale, ffcv_crop,
    image::pixels::{DecodedImage, View},
    random_resized_crop, torchvision_crop,
    transform::{
        crop::{fallback_crop, try_crop},
        resize::{Resizer, Target},
    },
};

fn golden(topic: &str) -> Value {
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let folder = std::env::var("MLPERF_RUN_GOLDEN").unwrap_or_else(|_| bundled.to_owned());
    let path = format!("{folder}/{topic}.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers<const N: usize>(value: &Value) -> [f64; N] {
    std::array::from_fn(|i| number(&value[i]))
}

fn count(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn counts<const N: usize>(value: &Value) -> [usize; N] {
    std::array::from_fn(|i| count(&value[i]))
}

fn size(case: &Value) -> Size {
    Size { height: count(&case["height"]), width: count(&case["width"]) }
}

fn transform(scale: [f64; 2], ratio: [f64; 2]) -> TrainTransform {
    TrainTransform { scale, ratio, ..TrainTransform::default() }
}

/// A column of the reference, and how to compute it from a crop and the image's area.
type Column = (&'static str, fn(&Crop, f64) -> f64);

/// Crops of one distribution, and the fraction that fitted at the first attempt.
fn draw(image: Size, config: &TrainTransform) -> (Vec<Crop>, f64) {
    const NUM_DRAWS: usize = 60_000;
    let mut num_first = 0;
    let crops = (0..NUM_DRAWS as u64).map(|i| {
        let first = try_crop(image, config, &mut Rng::keyed(&[1, i]));
        num_first += usize::from(first.is_some());
        let crop = random_resized_crop(image, config, &mut Rng::keyed(&[1, i]));
        assert!(first.is_none_or(|first| first == crop));
        crop
    });
    let crops = crops.collect();
    (crops, num_first as f64 / NUM_DRAWS as f64)
}

/// Five standard errors of the difference of two samples' means.
fn tolerance(std: f64, n1: usize, n2: f64) -> f64 {
    5.0 * std * (1.0 / n1 as f64 + 1.0 / n2).sqrt()
}

fn check_distribution(name: &str, mut values: Vec<f64>, case: &Value) {
    let (expected, other_n) = (&case[name], number(&case["samples"]));
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let limit = tolerance(number(&expected["std"]), n, other_n);
    assert!((mean - number(&expected["mean"])).abs() <= limit, "{name}: mean {mean}, {expected}");
    values.sort_unstable_by(f64::total_cmp);
    let fractions = [0.01f64, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99];
    for (fraction, quantile) in fractions.into_iter().zip(numbers::<7>(&expected["q"])) {
        let limit = tolerance((fraction * (1.0 - fraction)).sqrt(), n, other_n);
        // Values are lattice points, so many values may equal a quantile.
        let below = values.partition_point(|&value| value < quantile - 1e-9) as f64 / n as f64;
        let upto = values.partition_point(|&value| value <= quantile + 1e-9) as f64 / n as f64;
        assert!(below <= fraction + limit, "{name}: {below} below {quantile}");
        assert!(upto >= fraction - limit, "{name}: {upto} up to {quantile}");
    }
}

#[test]
fn random_crops_follow_torchvisions_distribution() {
    for case in items(&golden("random_resized_crop")["distributions"]) {
        let image = size(case);
        let config = transform(numbers(&case["scale"]), numbers(&case["ratio"]));
        let (crops, first_try) = draw(image, &config);
        let fallback = fallback_crop(image, config.ratio);
        let num_fallback = crops.iter().filter(|&&crop| crop == fallback).count();
        let fractions = [
            ("first_try_fraction", first_try),
            ("fallback_fraction", num_fallback as f64 / crops.len() as f64),
        ];
        for (name, fraction) in fractions {
            let expected = number(&case[name]);
            let std = (expected * (1.0 - expected)).sqrt();
            // A regular draw may equal the fallback's box by chance.
            let limit = tolerance(std, crops.len(), number(&case["samples"])) + 1e-3;
            assert!(
                (fraction - expected).abs() <= limit,
                "{name}: {fraction}, expected {expected}"
            );
        }
        let area = (image.height * image.width) as f64;
        let columns: [Column; 6] = [
            ("top", |crop, _| crop.top as f64),
            ("left", |crop, _| crop.left as f64),
            ("crop_h", |crop, _| crop.height as f64),
            ("crop_w", |crop, _| crop.width as f64),
            ("area_fraction", |crop, area| (crop.height * crop.width) as f64 / area),
            ("aspect_w_over_h", |crop, _| crop.width as f64 / crop.height as f64),
        ];
        for (name, column) in columns {
            check_distribution(name, crops.iter().map(|crop| column(crop, area)).collect(), case);
        }
    }
}

#[test]
fn fallback_crops_match_torchvision() {
    for case in items(&golden("random_resized_crop")["fallback"]) {
        let [top, left, height, width] = counts(&case["top_left_h_w"]);
        let crop = fallback_crop(size(case), numbers(&case["ratio"]));
        assert_eq!(crop, Crop { top, left, height, width }, "{case}");
    }
}

#[test]
fn evaluation_crops_match_ffcv_and_torchvision() {
    for case in items(&golden("eval_geometry")["cases"]) {
        let config = EvalTransform {
            resize_size: count(&case["resize"]),
            crop_size: count(&case["crop"]),
            ..EvalTransform::default()
        };
        let crop = ffcv_crop(size(case), &config);
        let (expected, image_size) = (&case["ffcv"], count(&case["ffcv"]["crop_side"]));
        let [top, left] = counts(&expected["top_left"]);
        assert_eq!(crop, Crop { top, left, height: image_size, width: image_size }, "{case}");

        let (resized, crop) = torchvision_crop(size(case), &config);
        let expected = &case["torchvision"];
        assert_eq!([resized.height, resized.width], counts(&expected["resized"]), "{case}");
        assert_eq!([crop.top, crop.left], counts(&expected["crop_top_left"]), "{case}");
        assert_eq!([crop.height, crop.width], [config.crop_size; 2], "{case}");
    }
}

/// Flattens a nested list of numbers.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Array(items) => items.iter().flat_map(bytes).collect(),
        number => vec![number.as_u64().unwrap() as u8],
    }
}

#[test]
fn resized_pixels_match_opencv_and_pil() {
    let filters = [
        (Interpolation::Area, "cv2_inter_area"),
        (Interpolation::Bilinear, "pil_bilinear_antialias"),
    ];
    for case in items(&golden("resize_pixels")["cases"]) {
        let pixels = bytes(&case["input_hwc"]);
        let [height, width] = counts(&case["input_hw"]);
        let view = View::whole(DecodedImage { pixels: &pixels, width, height });
        let [height, width] = counts(&case["output_hw"]);
        for (filter, name) in filters {
            let mut out = vec![0; height * width * 3];
            let target = Target::new(&mut out, Size { height, width });
            Resizer::default().resize(view, filter, target);
            let expected = bytes(&case[name]);
            assert_eq!(out.len(), expected.len());
            let differs = out.iter().zip(&expected).any(|(a, b)| a.abs_diff(*b) > 1);
            assert!(!differs, "{name}: {out:?}, expected {expected:?}");
        }
    }
}

#[test]
fn normalised_bytes_match_ffcv() {
    let golden = golden("normalize");
    let mean = numbers(&golden["mean"]).map(|mean: f64| mean / 255.0);
    let std = numbers(&golden["std"]).map(|std: f64| std / 255.0);
    let (scale, shift) = channel_scale(mean, std);
    for row in items(&golden["rows"]) {
        let (byte, expected) = (number(&row["byte"]), numbers::<3>(&row["f64"]));
        for channel in 0..3 {
            let value = byte * scale[channel] + shift[channel];
            assert!((value - expected[channel]).abs() < 1e-9, "{value}, expected {row}");
        }
    }
}
