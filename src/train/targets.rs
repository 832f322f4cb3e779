//! Makes the targets of the loss from labels.

use tch::{Kind, Tensor};

use crate::algorithms::LabelSmoothing;

/// Makes targets `[N, K]`.
pub(super) struct Targets {
    smoothing: LabelSmoothing,
    num_classes: usize,
}

impl Targets {
    /// Smoothed targets, or one-hot ones.
    pub(super) fn new(smoothing: Option<&LabelSmoothing>, num_classes: usize) -> Self {
        let hard = LabelSmoothing { smoothing: 0.0, ..LabelSmoothing::default() };
        Self { smoothing: smoothing.cloned().unwrap_or(hard), num_classes }
    }

    /// Targets `[N, K]` of kind `kind` for `labels` `[N]` (int64).
    pub(super) fn of(&self, labels: &Tensor, kind: Kind) -> Tensor {
        self.smoothing.targets(labels, self.num_classes, kind)
    }
}
