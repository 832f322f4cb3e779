//! The stem: convolution, batch norm, `ReLU` and max-pool.

use std::sync::Arc;

use tch::{Tensor, no_grad};

use super::{
    BlockInput,
    layer::{Layer, parameters},
};
use crate::{
    libtorch::{
        BridgeError, attach_node,
        kernels::{Kernels, Pool},
    },
    model::{
        layers::{Mode, pad_channels},
        resnet::ResNet,
    },
};

impl ResNet {
    /// Images `[N, 3, R, R]` to the input of the first block, `[N, C, R / 4, R / 4]`.
    pub(super) fn fused_stem(
        &self,
        images: &Tensor,
        mode: Mode,
        kernels: &Arc<Kernels>,
    ) -> Result<BlockInput, BridgeError> {
        let pool = if self.pool_blur.is_some() { Pool::Blurred } else { Pool::Stride2 };
        let stem = &self.stem;
        let (layer, (output, taps)) = no_grad(|| {
            let images = pad_channels(images, self.input_channels);
            let layer = Layer::forward((&stem.0, &stem.1), images, 2, mode, kernels)?;
            let pooled = kernels.bn_relu_pool(&layer.output, &layer.statistics, pool)?;
            Ok::<_, BridgeError>((layer, pooled))
        })?;
        if mode == Mode::Train {
            let kernels = Arc::clone(kernels);
            attach_node(&[&output], &parameters(stem), move |gradients| {
                let dy = gradients[0].as_ref().expect("the blocks depend on the stem");
                let norm = kernels
                    .bn_relu_pool_backward(dy, &taps, &layer.output, &layer.statistics, pool)
                    .expect("a kernel that fits forward fits backward");
                let gradient = layer.backward_parameters(norm).expect("gradients of the stem");
                gradient.into_list().into()
            })?;
        }
        Ok(BlockInput { shortcut: output.shallow_clone(), branch: output })
    }
}
