//! Golden numbers as tensors.

use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// All numbers of nested lists, in row-major order.
pub(super) fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap_or_else(|| panic!("{number} is no number"))],
    }
}

pub(super) fn shape(value: &Value) -> Vec<i64> {
    flat(value).into_iter().map(|n| n as i64).collect()
}

/// Nested lists as a tensor of doubles.
pub(super) fn tensor(value: &Value) -> Tensor {
    let (mut size, mut inner) = (Vec::new(), value);
    while let Value::Array(items) = inner {
        size.push(items.len() as i64);
        inner = &items[0];
    }
    Tensor::from_slice(&flat(value)).reshape(size)
}

/// The largest `|a - b| / (1 + |b|)`; the sizes must agree.
pub(super) fn deviation(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.detach().to_kind(Kind::Double), b.detach().to_kind(Kind::Double));
    f64::try_from(((a - &b).abs() / (b.abs() + 1.0)).max()).unwrap()
}

/// The integer hash that fills tensors: element `i` of tensor `p`, in [-0.5, 0.5).
pub(super) fn hash_fill(p: u32, salt: u32, size: &[i64]) -> Tensor {
    let n: i64 = size.iter().product();
    let value = |i: u32| {
        let mut x = i
            .wrapping_mul(2_654_435_761)
            .wrapping_add(p.wrapping_mul(2_246_822_519))
            .wrapping_add(salt.wrapping_mul(3_266_489_917));
        x ^= x >> 15;
        x = x.wrapping_mul(2_246_822_519);
        x ^= x >> 13;
        x = x.wrapping_mul(3_266_489_917);
        x ^= x >> 16;
        f64::from(x) / 4_294_967_296.0 - 0.5
    };
    let values: Vec<f64> = (0..n as u32).map(value).collect();
    Tensor::from_slice(&values).reshape(size).to_device(Device::Cpu)
}
