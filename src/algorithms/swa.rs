//! SWA: evaluates the mean of the weights at the ends of late epochs, which is nearer to the middle of
//! a flat minimum than any of them.
//!
//! Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization",
//! algorithm 1: from `start` on, every `interval`, `mean += (weights - mean) / n`. The running statistics of
//! batch norm do not average well. Before each evaluation of the mean they are retaken, as the paper does and
//! torch's `swa_utils.update_bn`: the network reads the last `update_bn` training images of the epoch again,
//! and each statistic becomes its mean over the batches of all ranks. Suggested: the last quarter of
//! the run, with a learning rate that stays up (`scheduler.name = "constant"`, or a cosine with `alpha_f` of
//! 0.1). Trade-off: the paper publishes 0.7 to 0.8 points on trained networks; nothing where the rate
//! has decayed to zero. Two copies of the weights; per evaluation, a forward pass over `update_bn` images,
//! which is part of the evaluation's time (`statistics_s` in `events.jsonl`). The default reads 1.3 % of
//! `ImageNet`; the paper and early versions of Composer read all training images (`"1ep"`), once, at the
//! end of the run. Measured on the built-in images, one run of 12 epochs: against averaged statistics, +1.9,
//! +0.7 and 0.0 points after epochs 8, 10 and 12 with all images, +1.9, +0.1 and -0.3 with a fifth of them; a
//! pass over all takes half an epoch's time. Nothing has been measured on `ImageNet`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "torch")]
use super::algorithm::{Algorithm, Average, MethodContext, Progress};
use super::method::Method;
#[cfg(feature = "torch")]
use crate::libtorch::{BridgeError, TensorList};
use crate::{
    data::DataConfig,
    model::{DropBy, ModelSpec},
    optim::{RunLength, Time},
    problems::Problems,
};

/// `[algorithms.swa]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Swa {
    /// Time before the first weights that count.
    pub start: Time,
    /// Time from weights that count to the next.
    pub interval: Time,
    /// Length of training over which batch norm's statistics are retaken, in whole steps, one epoch at most; "0sp" averages them like the weights.
    pub update_bn: Time,
}

impl Swa {
    /// Steps whose images the statistics are retaken from.
    pub fn bn_steps(&self, run_length: &RunLength) -> usize {
        let least = usize::from(!self.update_bn.is_zero());
        let steps = self.update_bn.to_steps(run_length).max(least);
        steps.min(run_length.steps_per_epoch)
    }
}

impl Default for Swa {
    fn default() -> Self {
        Self {
            start: Time::Fraction(0.75),
            interval: Time::Epochs(1.0),
            update_bn: Time::Samples(16_384),
        }
    }
}

impl Method for Swa {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        self.start.check("algorithms.swa.start", problems);
        self.interval.check_positive("algorithms.swa.interval", problems);
        self.update_bn.check("algorithms.swa.update_bn", problems);
    }

    fn check_model(&self, spec: &ModelSpec, problems: &mut Problems) {
        let by_block = spec.branch_drop.as_ref().is_some_and(|drop| drop.by == DropBy::Block);
        if by_block && !self.update_bn.is_zero() {
            problems.add(format!(
                "algorithms.swa.update_bn ({}) retakes the statistics of all blocks, and \
                 algorithms.stochastic_depth drops some; set its method = \"sample\" or update_bn = \"0sp\"",
                self.update_bn
            ));
        }
        if spec.bn_momentum == 0.0 {
            problems.add(
                "algorithms.swa evaluates batch norm's running statistics, and model.bn_momentum (0) \
                 takes none; set it to 0.1",
            );
        }
    }

    #[cfg(feature = "torch")]
    fn start(&self, context: &MethodContext) -> Result<Option<Box<dyn Algorithm>>, BridgeError> {
        Ok(Some(Box::new(SwaAlgorithm {
            weights: context.weights.shared()?,
            mean: Average::of(context.weights)?,
            start: self.start.to_steps(context.run_length),
            interval: self.interval.to_steps(context.run_length).max(1),
        })))
    }
}

#[cfg(feature = "torch")]
struct SwaAlgorithm {
    weights: TensorList,
    mean: Average,
    start: usize,
    interval: usize,
}

#[cfg(feature = "torch")]
impl Algorithm for SwaAlgorithm {
    fn after_step(&mut self, now: Progress) -> Result<(), BridgeError> {
        if now.step <= self.start || !(now.step - self.start).is_multiple_of(self.interval) {
            return Ok(());
        }
        self.mean.num_updates += 1;
        self.mean.weights.lerp(&self.weights, 1.0 / self.mean.num_updates as f64)
    }

    fn average(&self) -> Option<&Average> {
        Some(&self.mean)
    }

    fn average_mut(&mut self) -> Option<&mut Average> {
        Some(&mut self.mean)
    }
}

#[cfg(all(test, feature = "torch"))]
mod tests {
    use tch::Tensor;

    use super::*;

    #[test]
    fn the_ends_of_late_epochs_count_alike() {
        let weight = Tensor::from_slice(&[0f64]);
        let weights = TensorList::new([&weight]).unwrap();
        let run_length = RunLength { steps_per_epoch: 2, num_epochs: 4, batch_size: 1 };
        let context = MethodContext {
            weights: &weights,
            run_length: &run_length,
            image_sizes: &[],
            seed: 0,
            rank: 0,
        };
        let config = Swa { start: Time::Fraction(0.25), ..Swa::default() };
        let mut swa = config.start(&context).unwrap().unwrap();
        for step in 1..=8 {
            let _ = weight.shallow_clone().fill_(step as f64);
            swa.after_step(Progress { step, epoch: (step - 1) / 2 }).unwrap();
            assert_eq!(swa.average().unwrap().num_updates > 0, step >= 4, "{step}");
        }
        let evaluated = Tensor::from_slice(&[0f64]);
        TensorList::new([&evaluated]).unwrap().copy_from(&swa.average().unwrap().weights).unwrap();
        assert!((evaluated.double_value(&[0]) - (4.0 + 6.0 + 8.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn statistics_are_retaken_over_whole_steps_of_one_epoch() {
        let run_length = RunLength { steps_per_epoch: 10, num_epochs: 4, batch_size: 64 };
        for (update_bn, steps) in [
            ("0sp", 0),
            ("0ba", 0),
            ("0ep", 0),
            ("0dur", 0),
            ("1sp", 1),
            ("200sp", 3),
            ("1ep", 10),
            ("0.5dur", 10),
        ] {
            let swa = Swa { update_bn: update_bn.parse().unwrap(), ..Swa::default() };
            assert_eq!(swa.bn_steps(&run_length), steps, "{update_bn}");
        }
    }
}
