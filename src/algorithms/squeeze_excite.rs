//! Squeeze-and-excitation: weighs the channels that a convolution gives by two small linear layers, which
//! read the means of all channels, so that the whole image decides how much each channel counts.
//!
//! Source: Hu et al. 2018, "Squeeze-and-Excitation Networks", section 3; like Composer 0.7.0: after every
//! convolution with at least `min_channels` input and output channels, shortcuts included, without biases:
//! `x sigmoid(W2 relu(W1 mean(x)))`. The new weights keep torch's initialization, whatever
//! `model.initializers` says. Suggested: all defaults. Trade-off: the paper publishes +1.5 points for
//! `ResNet-50` with one such layer a block; Composer's method card has no figure for accuracy and says that
//! inference is about 20 % slower. In a trial for `demo/optimized-112px` it gave 2.4 points for 1 % of the
//! speed on a CPU (n = 1). Fused kernels cannot compute it, and each layer reads and writes its images once
//! more, which has not been measured on a GPU here. It is another network: report it as one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::Method;
use crate::{
    data::DataConfig,
    model::{Excitation, ModelSpec},
    problems::Problems,
};

/// `[algorithms.squeeze_excite]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SqueezeExcite {
    /// Hidden channels; below 1, a fraction of the convolution's output channels.
    pub latent_channels: f64,
    /// Leave convolutions with fewer input or output channels unchanged.
    pub min_channels: usize,
}

impl Default for SqueezeExcite {
    fn default() -> Self {
        Self { latent_channels: 64.0, min_channels: 128 }
    }
}

impl Method for SqueezeExcite {
    fn check(&self, _data: &DataConfig, problems: &mut Problems) {
        let latent = self.latent_channels;
        if !(latent > 0.0 && latent <= MAX_LATENT) {
            problems.add(format!(
                "algorithms.squeeze_excite.latent_channels ({latent}) must be above 0 and at most \
                 {MAX_LATENT}"
            ));
        }
    }

    fn check_model(&self, spec: &ModelSpec, problems: &mut Problems) {
        if spec.num_excited() == 0 {
            problems.add(format!(
                "algorithms.squeeze_excite changes nothing: no convolution has min_channels ({}) input \
                 and output channels; lower min_channels or remove the table",
                self.min_channels
            ));
        }
    }

    fn change_model(&self, spec: &mut ModelSpec) {
        let Self { latent_channels, min_channels } = *self;
        spec.excitation = Some(Excitation { latent_channels, min_channels });
    }
}

/// Most hidden channels: twice those of the widest convolution of `ResNet-152`.
const MAX_LATENT: f64 = 4096.0;
