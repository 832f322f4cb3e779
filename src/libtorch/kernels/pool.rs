//! The max-pool of the stem, with the batch norm and `ReLU` before it.

use tch::Tensor;

use super::{Kernels, NormGradient};
use crate::libtorch::bridge::BridgeError;

/// A 3x3 max-pool with padding 1 that halves H and W, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Stride 2.
    Stride2,
    /// Stride 1, then [`Kernels::blur_halve`].
    Blurred,
}

impl Kernels {
    /// The pool of `relu(bn(x))`, `[N, C, H, W]` to `[N, C, H / 2, W / 2]`, and where each maximum came
    /// from.
    pub fn bn_relu_pool(
        &self,
        x: &Tensor,
        statistics: &Tensor,
        pool: Pool,
    ) -> Result<(Tensor, Tensor), BridgeError> {
        let [n, c, h, w] = self.sizes(x)?;
        let [half_h, half_w] = [h, w].map(|size| (size + 1) / 2);
        let y = self.activations([n, c, half_h, half_w]);
        let (kernel, taps) = match pool {
            Pool::Stride2 => (c"bn_relu_pool", self.bytes(&[n, half_h, half_w, c])),
            Pool::Blurred => (c"bn_relu_pool_blur", self.bytes(&[n, h, w, c])),
        };
        let tensors = [x.into(), statistics.into(), (&y).into(), (&taps).into()];
        let sizes = [n, h, w, c].map(Into::into);
        let grid = self.blocks(n * half_h * half_w * c / 8, 256);
        self.launch(kernel, [grid, 1], &[tensors, sizes].concat())?;
        Ok((y, taps))
    }

    /// Backward of [`Kernels::bn_relu_pool`]; `dy` is `[N, C, H / 2, W / 2]`.
    pub fn bn_relu_pool_backward(
        &self,
        dy: &Tensor,
        taps: &Tensor,
        x: &Tensor,
        statistics: &Tensor,
        pool: Pool,
    ) -> Result<NormGradient, BridgeError> {
        let [n, c, h, w] = self.sizes(x)?;
        let [half_h, half_w] = [h, w].map(|size| (size + 1) / 2);
        self.same_sizes([n, c, half_h, half_w], dy)?;
        let (reduce, apply) = match pool {
            Pool::Stride2 => (c"reduce_pool_stride2", c"apply_pool_stride2"),
            Pool::Blurred => (c"reduce_pool_blurred", c"apply_pool_blurred"),
        };
        let quads = n * half_h * half_w;
        // A quad is as much work as several rows.
        let (grid, partial) = self.reduction(4 * quads, c, 2);
        let reduced = self.reduced(c);
        let tensors = [dy.into(), taps.into(), x.into(), statistics.into()];
        let sizes = [n, h, w, c].map(Into::into);
        let sums = [(&partial).into(), (&self.counters).into()];
        self.launch(reduce, grid, &[&tensors[..], &sizes, &sums, &reduced.arguments()].concat())?;
        let dx = self.activations([n, c, h, w]);
        let terms = (&reduced.terms).into();
        let tensors = [dy.into(), taps.into(), x.into(), terms, statistics.into(), (&dx).into()];
        let grid = self.blocks(quads * c / 8, 256);
        self.launch(apply, [grid, 1], &[&tensors[..], &sizes].concat())?;
        Ok(reduced.with_input(dx))
    }
}
