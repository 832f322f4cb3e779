//! Layer freezing: stops training the layers of the network one after another, from the first on, so that
//! late epochs need no backward pass through them.
//!
//! Source: Raghu et al. 2017, "SVCCA" ("Freeze Training"), and Brock et al. 2017, "`FreezeOut`"; like Composer
//! 0.7.0: after each epoch, the fraction of frozen layers is set by a line from 0 at `start` to `level` at the
//! end of the run, and the number of layers is rounded down. The last layer is always trained. Frozen weights
//! get no gradient, no decay and no momentum, but batch norm's statistics still change. Composer warns that
//! such a run cannot be resumed reliably; here it can. Suggested: `start = 0.5` with a `level` of 0.5 or less.
//! Trade-off: for `ResNet-50` Composer publishes 5 % more speed and 0.5 to 1 points less accuracy. Where
//! steps are captured in CUDA graphs, several ranks all-reduce gradients after backward in all epochs, because
//! the reducer cannot change within graphs, and each number of frozen layers is a graph of its own. `plan` and
//! `bench step` count frozen layers as trained. In `demo/optimized` on a CPU, `start = 0.5` with a `level` of 0.5
//! saves about 7 % of the training time and costs 0.9 points, with 1.0 about 12 % and 1.8 points; on a GPU nothing
//! has been measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::Method;
use crate::{data::DataConfig, problems::Problems};

/// `[algorithms.layer_freezing]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LayerFreezing {
    /// Fraction of the run after which freezing begins, 0 to below 1.
    pub start: f64,
    /// Fraction of the layers, without the last one, that would be frozen at the end; above 0, at most 1.
    pub level: f64,
}

impl Default for LayerFreezing {
    fn default() -> Self {
        Self { start: 0.5, level: 1.0 }
    }
}

impl LayerFreezing {
    /// Layers that are frozen in `epoch`, from 0, of a run of `num_epochs` with a network of `num_layers`.
    pub fn num_frozen(&self, epoch: usize, num_epochs: usize, num_layers: usize) -> usize {
        let elapsed = epoch as f64 / num_epochs as f64;
        if elapsed <= self.start {
            return 0;
        }
        let fraction = self.level * ((elapsed - self.start) / (1.0 - self.start));
        (fraction * (num_layers - 1) as f64) as usize
    }
}

impl Method for LayerFreezing {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        let Self { start, level } = *self;
        if !(0.0..1.0).contains(&start) {
            problems.add(format!(
                "algorithms.layer_freezing.start ({start}) must be at least 0 and below 1"
            ));
        }
        if !(level > 0.0 && level <= 1.0) {
            problems.add(format!(
                "algorithms.layer_freezing.level ({level}) must be above 0 and at most 1"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Composer 0.7.0's `_freeze_schedule` and `int(fraction * (num_layers - 1))`, after each epoch.
    #[test]
    fn as_many_layers_are_frozen_as_in_composer() {
        let frozen = |start, level, num_epochs, num_layers| -> Vec<usize> {
            let method = LayerFreezing { start, level };
            (0..num_epochs).map(|e| method.num_frozen(e, num_epochs, num_layers)).collect()
        };
        assert_eq!(frozen(0.5, 1.0, 8, 107), [0, 0, 0, 0, 0, 26, 53, 79]);
        assert_eq!(frozen(0.0, 0.4, 5, 41), [0, 3, 6, 9, 12]);
        assert_eq!(frozen(0.3, 0.7, 10, 62), [0, 0, 0, 0, 6, 12, 18, 24, 30, 36]);
    }
}
