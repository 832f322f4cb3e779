//! Label smoothing: targets a little below one and above zero.
//!
//! Source: Szegedy et al. 2015, "Rethinking the Inception Architecture", section 7:
//! `t = (1 - s) onehot + s / K`. Suggested: 0.1 for long runs, 0.08 below 30 epochs. Trade-off:
//! helps accuracy, costs nothing.

use serde::{Deserialize, Serialize};

/// `[algorithms.label_smoothing]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelSmoothing {
    /// Share s of the target that is spread.
    pub smoothing: f64,
    /// Over which classes.
    pub spread: Spread,
}

/// Over which classes the share is spread.
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

impl LabelSmoothing {
    /// Targets `[N, K]` of kind `kind` for `labels` `[N]` (int64).
    #[cfg(feature = "torch")]
    pub fn targets(
        &self,
        labels: &tch::Tensor,
        num_classes: usize,
        kind: tch::Kind,
    ) -> tch::Tensor {
        let (s, k) = (self.smoothing, num_classes as f64);
        let (on, off) = match self.spread {
            Spread::All => (1.0 - s + s / k, s / k),
            Spread::Others => (1.0 - s, s / (k - 1.0)),
        };
        let size = [labels.size()[0], num_classes as i64];
        tch::Tensor::full(size, off, (kind, labels.device())).scatter_value_(
            1,
            &labels.unsqueeze(1),
            on,
        )
    }
}
