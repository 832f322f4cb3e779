//! Judging a batch of validation pictures.

use tch::{Kind, Tensor, no_grad};

use super::{batch::DeviceBatch, trainer::Trainer};
use crate::model::Mode;

impl Trainer {
    /// Adds the number of pictures of `batch` judged right to `right` (`[]`, int64), on the device.
    ///
    /// In fp32, whatever the number formats of training are: a label decides between numbers that
    /// may lie closer together than half precision tells apart.
    pub(super) fn judge(&self, batch: &DeviceBatch, right: &Tensor) {
        no_grad(|| {
            let logits = self.model.forward(&batch.images, Mode::Eval); // [N, K]
            let judged = logits.argmax(-1, false).eq_tensor(&batch.labels).sum(Kind::Int64);
            let _ = right.shallow_clone().g_add_(&judged);
        });
    }
}
