//! Label smoothing: targets a little below one and above zero.
//!
//! Source: Szegedy et al. 2015, "Rethinking the Inception Architecture", section 7:
//! `t = (1 - s) onehot + s / K`. Suggested: 0.1 for long runs, 0.08 below 30 epochs. Trade-off:
//! helps accuracy, costs nothing.

use serde::{Deserialize, Serialize};
#[cfg(feature = "torch")]
use tch::{Kind, Tensor};

use super::method::Method;
use crate::{data::DataConfig, problems::Problems};

/// `[algorithms.label_smoothing]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelSmoothing {
    /// Fraction s of the target that is spread.
    pub smoothing: f64,
    /// Classes that it is spread over.
    pub spread: Spread,
}

/// Classes that the fraction is spread over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// s / K on each of the K classes.
    All,
    /// s / (K - 1) on each but the label (`MXNet`).
    Others,
}

impl Default for LabelSmoothing {
    fn default() -> Self {
        Self { smoothing: 0.1, spread: Spread::All }
    }
}

impl Method for LabelSmoothing {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        problems.zero_to_below_one("algorithms.label_smoothing.smoothing", self.smoothing);
    }

    /// The closed division has the reference's 0.1, or none.
    fn closed_obstacle(&self) -> Option<&'static str> {
        let is_allowed = [0.0, 0.1].contains(&self.smoothing);
        (!is_allowed).then_some(".smoothing other than 0 or 0.1")
    }
}

#[cfg(feature = "torch")]
impl LabelSmoothing {
    /// Targets `[N, K]` of kind `kind` for `labels` `[N]` (int64).
    pub fn targets(&self, labels: &Tensor, num_classes: usize, kind: Kind) -> Tensor {
        let (s, k) = (self.smoothing, num_classes as f64);
        let (on, off) = match self.spread {
            Spread::All => (1.0 - s + s / k, s / k),
            Spread::Others => (1.0 - s, s / (k - 1.0)),
        };
        let size = [labels.size()[0], num_classes as i64];
        Tensor::full(size, off, (kind, labels.device())).scatter_value_(1, &labels.unsqueeze(1), on)
    }
}
