//! Which networks the fused kernels can compute.

use super::config::{BlurOrder, ModelSpec};

/// Input channels of the stem's convolution.
const STEM_CHANNELS: usize = 3;

impl ModelSpec {
    /// The reason why this network cannot use the fused kernels, if there is one.
    pub fn fusion_obstacle(&self) -> Option<&'static str> {
        let blur = self.blur.as_ref();
        if self.ghost_batch_size.is_some() {
            Some("algorithms.ghost_batch_norm normalizes parts of a batch; remove its table")
        } else if self.branch_drop.is_some() {
            Some("algorithms.stochastic_depth drops branches; remove its table")
        } else if self.excitation.is_some() {
            Some("algorithms.squeeze_excite weighs what convolutions give; remove its table")
        } else if blur.is_some_and(|blur| blur.order == BlurOrder::ConvFirst) {
            Some(
                "algorithms.blurpool.blur_first = false blurs after the convolution; set it to true",
            )
        } else if blur.is_some_and(|blur| blur.convs && blur.min_channels <= STEM_CHANNELS) {
            Some("algorithms.blurpool.min_channels blurs the first convolution; raise it above 3")
        } else if !self.frozen.is_empty() {
            Some("model.freeze keeps the statistics of batch norm; remove it")
        } else if !self.width.is_multiple_of(8) {
            Some("model.custom.width is not a multiple of 8; round it up")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Blur, BranchDrop, DropBy, Excitation, ModelConfig};

    #[test]
    fn what_the_kernels_lack_is_named() {
        let blur =
            |order, min_channels| Some(Blur { order, convs: true, maxpools: true, min_channels });
        let plain = ModelConfig::default().spec(5);
        let drop = BranchDrop { by: DropBy::Sample, rates: vec![0.1; 16] };
        let excitation = Some(Excitation { latent_channels: 64.0, min_channels: 128 });
        let with = [
            (ModelSpec { ghost_batch_size: Some(32), ..plain.clone() }, "ghost"),
            (ModelSpec { branch_drop: Some(drop), ..plain.clone() }, "stochastic_depth"),
            (ModelSpec { excitation, ..plain.clone() }, "squeeze_excite"),
            (ModelSpec { blur: blur(BlurOrder::ConvFirst, 16), ..plain.clone() }, "blur_first"),
            (ModelSpec { blur: blur(BlurOrder::BlurFirst, 3), ..plain.clone() }, "min_channels"),
            (ModelSpec { frozen: vec!["layer1".into()], ..plain.clone() }, "freeze"),
            (ModelSpec { width: 12, ..plain.clone() }, "width"),
        ];
        for (spec, name) in with {
            let obstacle = spec.fusion_obstacle().unwrap_or_default();
            assert!(obstacle.contains(name), "{name}: {obstacle}");
        }
        let blurred = ModelSpec { blur: blur(BlurOrder::BlurFirst, 16), ..plain.clone() };
        assert_eq!([plain.fusion_obstacle(), blurred.fusion_obstacle()], [None, None]);
    }
}
