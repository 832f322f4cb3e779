//! Losses on soft targets. Shapes: logits z and targets t are `[N, K]`, a loss is `[]`.

use tch::{Kind, Reduction, Tensor};

use super::config::LossName;

/// The loss of each sample, `[N]`, in fp32 even where the logits are half precision.
pub fn sample_losses(name: LossName, logits: &Tensor, targets: &Tensor) -> Tensor {
    let logits = at_least_fp32(logits);
    let none = None::<&Tensor>;
    match name {
        LossName::SoftCrossEntropy => {
            logits.cross_entropy_loss(targets, none, Reduction::None, -100, 0.0)
        }
        LossName::BinaryCrossEntropyWithLogits => {
            let losses =
                logits.binary_cross_entropy_with_logits(targets, none, none, Reduction::None);
            losses.sum_dim_intlist(1, false, logits.kind())
        }
    }
}

fn at_least_fp32(logits: &Tensor) -> Tensor {
    match logits.kind() {
        Kind::Half | Kind::BFloat16 => logits.to_kind(Kind::Float),
        _ => logits.shallow_clone(),
    }
}

/// The mean of the loss over the samples, in fp32 even where the logits are half precision.
pub fn mean_loss(name: LossName, logits: &Tensor, targets: &Tensor) -> Tensor {
    let logits = at_least_fp32(logits);
    match name {
        LossName::SoftCrossEntropy => {
            logits.cross_entropy_loss(targets, None::<&Tensor>, Reduction::Mean, -100, 0.0)
        }
        // Sum over the classes: with many classes the mean would all but silence the true one
        // (Wightman et al. 2021, "ResNet strikes back", section 4).
        LossName::BinaryCrossEntropyWithLogits => {
            let sum = logits.binary_cross_entropy_with_logits(
                targets,
                None::<&Tensor>,
                None::<&Tensor>,
                Reduction::Sum,
            );
            sum / logits.size()[0]
        }
    }
}
