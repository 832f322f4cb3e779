//! `train.microbatch`: images of a rank for which gradients are computed at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Value;

/// Images of a rank in one forward and backward pass. The gradients of a batch are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Value", into = "Value")]
#[schemars(!try_from, !into, rename_all = "snake_case")]
pub enum Microbatch {
    /// `"auto"`: as many as the memory holds, which warm-up finds out.
    Auto,
    /// This number.
    #[schemars(untagged)]
    Images(usize),
}

impl TryFrom<Value> for Microbatch {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match &value {
            Value::String(text) if text == "auto" => Ok(Self::Auto),
            Value::Integer(num) if *num >= 0 => Ok(Self::Images(*num as usize)),
            _ => Err(format!(
                "microbatch ({value}) is no number of images; write one such as 64, or \"auto\""
            )),
        }
    }
}

impl From<Microbatch> for Value {
    fn from(microbatch: Microbatch) -> Self {
        match microbatch {
            Microbatch::Auto => Self::String("auto".to_owned()),
            Microbatch::Images(num) => Self::Integer(num as i64),
        }
    }
}

/// The largest number of images up to half of `images` that divides `batch`; none below 1.
pub fn halved(batch: usize, images: usize) -> Option<usize> {
    (1..=images / 2).rev().find(|half| batch.is_multiple_of(*half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_divide_the_batch_down_to_one_image() {
        let sizes = |batch| {
            std::iter::successors(Some(batch), |images| halved(batch, *images)).collect::<Vec<_>>()
        };
        assert_eq!(sizes(12), [12, 6, 3, 1]);
        assert_eq!(sizes(9), [9, 3, 1]);
        assert_eq!(sizes(408), [408, 204, 102, 51, 24, 12, 6, 3, 1]);
    }
}
