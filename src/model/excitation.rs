//! Where a network has squeeze-and-excitation. No tensors here.

use super::config::ModelSpec;

/// Which convolutions squeeze-and-excitation follows (Hu et al. 2018, section 3), and its size.
#[derive(Clone, Debug, PartialEq)]
pub struct Excitation {
    /// Hidden channels; below 1, a fraction of the convolution's output channels.
    pub latent_channels: f64,
    /// Only convolutions with at least so many input and output channels are followed.
    pub min_channels: usize,
}

impl Excitation {
    /// Hidden channels after a convolution of these shapes; `None` if it is not followed.
    pub(super) fn latent(&self, inputs: u64, outputs: u64) -> Option<u64> {
        let latent = match self.latent_channels {
            channels if channels >= 1.0 => channels as u64,
            fraction => (fraction * outputs as f64) as u64,
        };
        (inputs.min(outputs) >= self.min_channels as u64).then_some(latent.max(1))
    }
}

impl ModelSpec {
    /// Number of convolutions that squeeze-and-excitation follows.
    pub fn num_excited(&self) -> usize {
        self.convs(1).iter().filter(|conv| conv.latent > 0).count()
    }
}
