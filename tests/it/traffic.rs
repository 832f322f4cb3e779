//! What ranks send each other.

use std::{collections::BTreeMap, fs};

use safetensors::SafeTensors;

use crate::train::{Bench, assert_ok, images};

/// The evaluated weights of run `number`, as numbers.
fn weights(bench: &Bench, number: usize) -> Vec<f32> {
    let bytes = fs::read(bench.path(&format!("run_{number}/weights.safetensors"))).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all = Vec::new();
    let by_name: BTreeMap<_, _> = tensors.tensors().into_iter().collect();
    for tensor in by_name.values() {
        if tensor.dtype() == safetensors::Dtype::F32 {
            let numbers = tensor.data().chunks_exact(4);
            all.extend(numbers.map(|it| f32::from_le_bytes(it.try_into().unwrap())));
        }
    }
    all
}

#[test]
fn compressed_gradients_send_half_the_bytes_and_train_nearly_the_same_weights() {
    let bench = Bench::new(2);
    assert_ok(&bench.run(&images(), &[]), 0);
    let plain = weights(&bench, 0);
    let bytes =
        |number| bench.json(&format!("run_{number}/summary.json"))["wire_bytes_per_step"].clone();
    let num_params = bench.json("run_0/summary.json")["num_params"].as_u64().unwrap();
    // Two ranks: each sends half of the sum's parts, and half of the sum.
    assert_eq!(bytes(0), 4 * num_params);
    for (number, (format, tolerance)) in [("fp16", 1e-2), ("bf16", 5e-2)].into_iter().enumerate() {
        let set = format!("train.ddp.compression={format}");
        assert_ok(&bench.run(&images(), &["--set", &set]), 0);
        assert_eq!(bytes(number + 1), 2 * num_params, "{format}");
        let compressed = weights(&bench, number + 1);
        let distance = |other: &[f32]| {
            let squares = plain.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2));
            let norm: f64 = plain.iter().map(|a| f64::from(*a).powi(2)).sum();
            (squares.sum::<f64>() / norm).sqrt()
        };
        let distance = distance(&compressed);
        assert!(distance > 0.0, "{format}: nothing was compressed");
        assert!(distance < tolerance, "{format}: {distance}");
    }
}
