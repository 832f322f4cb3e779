//! Operations of `RandAugment` against Pillow and torchvision, byte by byte, and their draws.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    data::{
        Augmentation, AugmentationSet, Rng,
        transform::{
            augment::{Kind, composer, enhance, torchvision},
            operation::{Augmenter, Operation},
        },
    },
    hash::sha256,
};

const COMPOSERS: [AugmentationSet; 3] =
    [AugmentationSet::All, AugmentationSet::Safe, AugmentationSet::Original];

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/randaugment.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn operations_equal_pillows_and_torchvisions() {
    let golden = golden();
    let (levels, factors) = (numbers(&golden["levels"]), numbers(&golden["factors"]));
    let mut augmenter = Augmenter::default();
    let mut num_compared = 0;
    for image in golden["images"].as_array().unwrap() {
        let image_size = image["image_size"].as_u64().unwrap() as usize;
        let pixels = bytes(&image["pixels"]);
        for case in image["operations"].as_array().unwrap() {
            let kind: Kind = serde_json::from_value(case["kind"].clone()).unwrap();
            let set: AugmentationSet = serde_json::from_value(case["set"].clone()).unwrap();
            let sign = case["sign"].as_f64().unwrap();
            for (i, expected) in case["results"].as_array().unwrap().iter().enumerate() {
                let operation = match set {
                    AugmentationSet::Torchvision => torchvision(kind, i, sign, image_size),
                    AugmentationSet::All => enhance(kind, factors[i]),
                    _ => composer(kind, levels[i], sign, image_size),
                };
                let mut row = pixels.clone();
                augmenter.apply(operation, (image_size, &mut row));
                let found = sha256(&row);
                assert_eq!(&found[..16], expected.as_str().unwrap(), "{case} {i}: {operation:?}");
                num_compared += 1;
            }
        }
    }
    assert_eq!(num_compared, 2 * 2 * (13 * levels.len() + 4 * factors.len() + 14 * 31));
}

/// Many draws.
fn draws(set: AugmentationSet, severity: usize) -> Vec<Operation> {
    let augmentation = Augmentation { depth: 1, severity, set };
    (0..20_000).map(|i| augmentation.draw(32, &mut Rng::keyed(&[5, i]))).collect()
}

#[test]
fn each_operation_is_drawn_equally_often_and_in_both_directions() {
    for set in COMPOSERS.into_iter().chain([AugmentationSet::Torchvision]) {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let (mut left, mut right) = (0, 0);
        for operation in draws(set, 9) {
            let name = match operation {
                Operation::Affine(affine) => {
                    let [_, shear, shift, ..] = affine.matrix;
                    left += usize::from(shift < 0.0 || shear < 0.0);
                    right += usize::from(shift > 0.0 || shear > 0.0);
                    "Affine".to_owned()
                }
                other => format!("{other:?}").split([' ', '{']).next().unwrap().to_owned(),
            };
            *counts.entry(name).or_default() += 1;
        }
        let num_kinds = set.kinds().len();
        assert_eq!(counts.len(), num_kinds - 4, "{counts:?}");
        for (name, count) in counts {
            // Two shears, two shifts and the rotation are affine.
            let share = if name == "Affine" { 5 } else { 1 };
            let apart = count as f64 * num_kinds as f64 / f64::from(20_000 * share) - 1.0;
            assert!(apart.abs() < 0.1, "{set:?}, {name}: {count}");
        }
        assert!((left as f64 / right as f64 - 1.0).abs() < 0.1, "{left}, {right}");
    }
}

#[test]
fn composers_factors_leave_an_image_alone_in_the_middle() {
    let factors: Vec<f32> = draws(AugmentationSet::All, 9)
        .into_iter()
        .filter_map(|operation| match operation {
            Operation::Color { factor } | Operation::Sharpness { factor } => Some(factor),
            _ => None,
        })
        .collect();
    let above = factors.iter().filter(|&&factor| factor > 1.0).count();
    assert!((above as f64 / factors.len() as f64 - 0.5).abs() < 0.04, "{above}");
    let least = factors.iter().copied().fold(f32::MAX, f32::min);
    let most = factors.iter().copied().fold(f32::MIN, f32::max);
    assert!((0.19..0.2).contains(&least) && (8.98..9.0).contains(&most), "{least} to {most}");
}
