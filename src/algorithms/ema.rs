//! EMA: evaluates an exponential moving average of the weights instead of the weights themselves,
//! so that late in a run the noise of single steps averages out.
//!
//! Source: Polyak and Juditsky 1992; like Composer 0.7.0: every `update_interval` steps
//! `ema = s ema + (1 - s) weights` over parameters and batch norm's statistics, with
//! `s = 2^(-update_interval / half_life)`; the first update copies. Suggested: half-life 100
//! steps for runs of 17,000 steps, half a percent of the run for shorter ones, an update every 20
//! steps. Trade-off: saves epochs near the end of a short run; two copies of the weights in
//! memory, and one pass over them per update.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "torch")]
use super::algorithm::{Algorithm, Average, MethodContext, Progress};
use super::method::Method;
#[cfg(feature = "torch")]
use crate::libtorch::{BridgeError, TensorList};
use crate::{data::DataConfig, optim::Time, problems::Problems};

/// Fraction of the old average that an update keeps: `2^(-update_interval / half_life)`.
pub fn ema_smoothing(update_interval: usize, half_life: usize) -> f64 {
    (-(update_interval as f64) / half_life as f64).exp2()
}

/// `[algorithms.ema]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ema {
    /// Time after which half of the average is newer.
    pub half_life: Time,
    /// Time between updates.
    pub update_interval: Time,
    /// Average batch norm's statistics too. Must be true: averaged weights do not fit the
    /// statistics of the last step.
    pub include_buffers: bool,
}

impl Default for Ema {
    fn default() -> Self {
        Self {
            half_life: Time::Steps(100),
            update_interval: Time::Steps(20),
            include_buffers: true,
        }
    }
}

impl Method for Ema {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        self.half_life.check_positive("algorithms.ema.half_life", problems);
        self.update_interval.check_positive("algorithms.ema.update_interval", problems);
        if !self.include_buffers {
            problems.add(
                "algorithms.ema.include_buffers (false) would evaluate averaged weights with \
                 batch norm's statistics of the last step, which do not fit them; remove the key",
            );
        }
    }

    #[cfg(feature = "torch")]
    fn start(&self, context: &MethodContext) -> Result<Option<Box<dyn Algorithm>>, BridgeError> {
        let interval = self.update_interval.to_steps(context.run_length).max(1);
        let half_life = self.half_life.to_steps(context.run_length).max(1);
        Ok(Some(Box::new(EmaAlgorithm {
            weights: context.weights.shared()?,
            average: Average::of(context.weights)?,
            interval,
            smoothing: ema_smoothing(interval, half_life),
        })))
    }
}

#[cfg(feature = "torch")]
struct EmaAlgorithm {
    weights: TensorList,
    average: Average,
    interval: usize,
    smoothing: f64,
}

#[cfg(feature = "torch")]
impl Algorithm for EmaAlgorithm {
    fn after_step(&mut self, now: Progress) -> Result<(), BridgeError> {
        if !now.step.is_multiple_of(self.interval) {
            return Ok(());
        }
        self.average.num_updates += 1;
        match self.average.num_updates {
            1 => self.average.weights.copy_from(&self.weights),
            _ => self.average.weights.lerp(&self.weights, 1.0 - self.smoothing),
        }
    }

    fn average(&self) -> Option<&Average> {
        Some(&self.average)
    }

    fn average_mut(&mut self) -> Option<&mut Average> {
        Some(&mut self.average)
    }
}
