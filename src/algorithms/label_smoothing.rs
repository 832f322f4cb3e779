//! Label smoothing: targets a little below one and above zero.
//!
//! Source: Szegedy et al. 2015, "Rethinking the Inception Architecture", section 7:
//! `t = (1 - s) onehot + s / K`. Suggested: 0.1 for long runs, 0.08 below 30 epochs. Trade-off:
//! helps accuracy, costs nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[cfg(feature = "torch")]
use tch::{Kind, Tensor};

use super::method::Method;
use crate::{data::DataConfig, problems::Problems, time::ByEpoch};

/// `[algorithms.label_smoothing]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LabelSmoothing {
    /// Fraction s of the target that is spread.
    pub smoothing: ByEpoch<f64>,
    /// Classes that it is spread over.
    pub spread: Spread,
}

/// Classes that the fraction is spread over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// s / K on each of the K classes.
    All,
    /// s / (K - 1) on each but the label (`MXNet`).
    Others,
}

impl Default for LabelSmoothing {
    fn default() -> Self {
        Self { smoothing: 0.1.into(), spread: Spread::All }
    }
}

impl Method for LabelSmoothing {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        self.smoothing.check(Self::KEY, problems, |key, smoothing, problems| {
            problems.zero_to_below_one(key, smoothing);
        });
    }

    /// The closed division has the reference's 0.1, or none.
    fn closed_obstacle(&self) -> Option<&'static str> {
        let is_allowed = self.smoothing.always().is_some_and(|s| [0.0, 0.1].contains(&s));
        (!is_allowed).then_some(".smoothing other than 0 or 0.1")
    }
}

impl LabelSmoothing {
    /// The key of `smoothing`.
    pub const KEY: &str = "algorithms.label_smoothing.smoothing";
}

#[cfg(feature = "torch")]
impl Spread {
    /// Targets `[N, K]` of kind `kind` for `labels` `[N]` (int64), with the fraction `s` spread.
    pub fn targets(self, labels: &Tensor, s: f64, (num_classes, kind): (usize, Kind)) -> Tensor {
        let k = num_classes as f64;
        let (on, off) = match self {
            Self::All => (1.0 - s + s / k, s / k),
            Self::Others => (1.0 - s, s / (k - 1.0)),
        };
        let size = [labels.size()[0], num_classes as i64];
        Tensor::full(size, off, (kind, labels.device())).scatter_value_(1, &labels.unsqueeze(1), on)
    }
}
