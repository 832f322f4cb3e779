//! The stem: convolution, batch norm, `ReLU` and max-pool.
//!
//! With 3 channels, a convolution leaves most of a GPU's matrix units idle. The 7x7 convolution with
//! stride 2 is therefore computed as a 4x4 convolution of cells of 2x2 pixels, which have 16 channels.

use std::sync::Arc;

use tch::{Tensor, no_grad};

use super::{
    BlockInput,
    layer::{Convolution, Layer, in_kind_of_parameters, parameters},
};
use crate::{
    libtorch::{
        BridgeError, attach_node,
        kernels::{Kernels, Pool},
    },
    model::{layers::Mode, resnet::ResNet},
};

impl ResNet {
    /// Images `[N, 3, R, R]` to the input of the first block, `[N, C, R / 4, R / 4]`. `weight` is the
    /// stem's in the storage's kind.
    pub(super) fn fused_stem(
        &self,
        images: &Tensor,
        weight: &Tensor,
        mode: Mode,
        kernels: &Arc<Kernels>,
    ) -> Result<BlockInput, BridgeError> {
        let pool = if self.pool_blur.is_some() { Pool::Blurred } else { Pool::Stride2 };
        let (layer, (output, taps)) = no_grad(|| {
            let cells = kernels.space_to_depth(images)?;
            let weight = weight_of_cells(weight);
            let convolution = Convolution { weight, stride: 1, padding: 0 };
            let layer = Layer::forward(convolution, &self.stem.1, cells, mode, kernels)?;
            let pooled = kernels.bn_relu_pool(&layer.output, &layer.statistics, pool)?;
            Ok::<_, BridgeError>((layer, pooled))
        })?;
        if mode == Mode::Train {
            let kernels = Arc::clone(kernels);
            attach_node(&[&output], &parameters(&self.stem), move |gradients| {
                let dy = gradients[0].as_ref().expect("the blocks depend on the stem");
                let norm = kernels
                    .bn_relu_pool_backward(dy, &taps, &layer.output, &layer.statistics, pool)
                    .expect("a kernel that fits forward fits backward");
                let mut gradient = layer.backward_parameters(norm).expect("gradients of the stem");
                gradient.weight = weight_of_pixels(&gradient.weight);
                in_kind_of_parameters(vec![gradient]).expect("gradients of one kind")
            })?;
        }
        Ok(BlockInput { shortcut: output.shallow_clone(), branch: output })
    }
}

/// The 4x4 convolution `[C, 16, 4, 4]` of [`Kernels::space_to_depth`]'s cells that equals the 7x7
/// convolution `[C, 3, 7, 7]` with stride 2 of the pixels.
fn weight_of_cells(weight: &Tensor) -> Tensor {
    let c = weight.size()[0];
    // A zero before the seven taps makes them four pairs: the first tap is the second pixel of a cell.
    let pairs = weight.constant_pad_nd([1, 0, 1, 0, 0, 1]).reshape([c, 4, 4, 2, 4, 2]);
    let rows = pairs.permute([0, 2, 4, 3, 5, 1]).contiguous(); // [C, cell y, cell x, py, px, colour]
    rows.view([c, 4, 4, 16]).permute([0, 3, 1, 2])
}

/// The inverse of [`weight_of_cells`], channels last.
fn weight_of_pixels(weight: &Tensor) -> Tensor {
    let c = weight.size()[0];
    let rows = weight.permute([0, 2, 3, 1]).reshape([c, 4, 4, 2, 2, 4]);
    let taps = rows.permute([0, 1, 3, 2, 4, 5]).reshape([c, 8, 8, 4]); // [C, y, x, colour]
    let taps = taps.narrow(1, 1, 7).narrow(2, 1, 7).narrow(3, 0, 3).contiguous();
    taps.permute([0, 3, 1, 2])
}
