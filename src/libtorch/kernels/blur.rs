//! The blur `[1 2 1] x [1 2 1] / 16` with zero padding 1 (Zhang 2019).

use tch::Tensor;

use super::Kernels;
use crate::libtorch::bridge::BridgeError;

/// Rows of the output that a thread computes, one after another.
const STRIP: i64 = 8;

impl Kernels {
    /// The blur with stride 1, `[N, C, H, W]`, which is also its own backward pass.
    pub fn blur(&self, x: &Tensor) -> Result<Tensor, BridgeError> {
        let [n, c, h, w] = self.sizes(x)?;
        let y = self.activations([n, c, h, w]);
        let sizes = [n, h, w, c, STRIP].map(Into::into);
        let arguments = [&[x.into(), (&y).into()], &sizes[..]].concat();
        self.launch(c"blur", [self.strips([n, c, h, w]), 1], &arguments)?;
        Ok(y)
    }

    /// The blur with stride 1 of `relu(bn(x))`, `[N, C, H, W]`.
    pub fn bn_relu_blur(&self, x: &Tensor, statistics: &Tensor) -> Result<Tensor, BridgeError> {
        let [n, c, h, w] = self.sizes(x)?;
        let y = self.activations([n, c, h, w]);
        let sizes = [n, h, w, c, STRIP].map(Into::into);
        let arguments = [&[x.into(), statistics.into(), (&y).into()], &sizes[..]].concat();
        self.launch(c"bn_relu_blur", [self.strips([n, c, h, w]), 1], &arguments)?;
        Ok(y)
    }

    /// The blur with stride 2, `[N, C, H, W]` to `[N, C, H / 2, W / 2]`, rounded up.
    pub fn blur_halve(&self, x: &Tensor) -> Result<Tensor, BridgeError> {
        let [n, c, h, w] = self.sizes(x)?;
        let [half_h, half_w] = [h, w].map(|size| (size + 1) / 2);
        let y = self.activations([n, c, half_h, half_w]);
        let sizes = [n, h, w, c].map(Into::into);
        let arguments = [&[x.into(), (&y).into()], &sizes[..]].concat();
        let grid = self.blocks(n * half_h * half_w * c / 8, 256);
        self.launch(c"blur_halve", [grid, 1], &arguments)?;
        Ok(y)
    }

    fn strips(&self, [n, c, h, w]: [i64; 4]) -> u32 {
        self.blocks(n * ((h + STRIP - 1) / STRIP) * w * c / 8, 256)
    }
}
