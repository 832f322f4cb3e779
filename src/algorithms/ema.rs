//! EMA: judges an exponential moving average of the weights instead of the weights themselves, so
//! that late in a run the noise of single steps averages out.
//!
//! Source: Polyak and Juditsky 1992; as Composer 0.7.0 has it: every `update_interval` steps
//! `ema = s ema + (1 - s) weights` over parameters and batch norm's statistics, with
//! `s = 2^(-update_interval / half_life)`; the first update copies. Suggested: half-life 100
//! steps for runs of 17,000 steps, half a percent of the run for shorter ones, an update every 20
//! steps. Trade-off: worth epochs near the end of a short run; two copies of the weights in memory,
//! and one pass over them per update.

use serde::{Deserialize, Serialize};

use crate::optim::Time;

/// `[algorithms.ema]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ema {
    /// After so long half of the average is newer.
    pub half_life: Time,
    /// Between updates.
    pub update_interval: Time,
    /// Average batch norm's statistics too. Has to be true: averaged weights do not fit the
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

/// Share of the old average that an update keeps: `2^(-update_interval / half_life)`.
pub fn ema_smoothing(update_interval: usize, half_life: usize) -> f64 {
    (-(update_interval as f64) / half_life as f64).exp2()
}

#[cfg(feature = "torch")]
pub(super) use averaging::Averaging;

#[cfg(feature = "torch")]
mod averaging {
    use super::{
        super::algorithm::{Algorithm, MethodContext, Progress},
        Ema, ema_smoothing,
    };
    use crate::libtorch::{BridgeError, TensorList};

    /// The average of one run.
    pub(in crate::algorithms) struct Averaging {
        weights: TensorList,
        average: TensorList,
        num_updates: usize,
        interval: usize,
        smoothing: f64,
    }

    impl Averaging {
        pub(in crate::algorithms) fn new(
            config: &Ema,
            context: &MethodContext,
        ) -> Result<Self, BridgeError> {
            let interval = config.update_interval.to_steps(context.run_length).max(1);
            let half_life = config.half_life.to_steps(context.run_length).max(1);
            Ok(Self {
                weights: context.weights.shared()?,
                average: context.weights.duplicate()?,
                num_updates: 0,
                interval,
                smoothing: ema_smoothing(interval, half_life),
            })
        }
    }

    impl Algorithm for Averaging {
        fn after_step(&mut self, now: Progress) -> Result<(), BridgeError> {
            if !now.step.is_multiple_of(self.interval) {
                return Ok(());
            }
            self.num_updates += 1;
            match self.num_updates {
                1 => self.average.copy_from(&self.weights),
                _ => self.average.lerp(&self.weights, 1.0 - self.smoothing),
            }
        }

        fn eval_weights(&self) -> Option<&TensorList> {
            (self.num_updates > 0).then_some(&self.average)
        }
    }
}
