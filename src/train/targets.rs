//! Makes the targets of the loss from labels.

use tch::{Kind, Tensor};

use crate::algorithms::{LabelSmoothing, Spread};

/// Makes targets `[N, K]`.
pub(super) struct Targets {
    spread: Spread,
    num_classes: usize,
}

impl Targets {
    /// Targets for `num_classes` classes, smoothed as the recipe has it.
    pub(super) fn new(smoothing: Option<&LabelSmoothing>, num_classes: usize) -> Self {
        Self { spread: smoothing.map_or(Spread::All, |method| method.spread), num_classes }
    }

    /// Targets `[N, K]` of kind `kind` for `labels` `[N]` (int64); one-hot where `smoothing` is 0.
    pub(super) fn of(&self, labels: &Tensor, smoothing: f64, kind: Kind) -> Tensor {
        self.spread.targets(labels, smoothing, (self.num_classes, kind))
    }
}
