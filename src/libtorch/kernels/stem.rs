//! The input of the stem.

use tch::Tensor;

use super::Kernels;
use crate::libtorch::bridge::BridgeError;

impl Kernels {
    /// Images `[N, 3, H, W]` as cells of 2x2 pixels, `[N, 16, H / 2 + 3, W / 2 + 3]` with halves rounded up.
    /// A 7x7 convolution with stride 2 and padding 3 of the images is a 4x4 convolution of the cells.
    pub fn space_to_depth(&self, images: &Tensor) -> Result<Tensor, BridgeError> {
        let rows = images.to_kind(self.storage.arithmetic()).permute([0, 2, 3, 1]).contiguous();
        let [n, h, w] = match rows.size()[..] {
            [n, h, w, 3] if images.device() == self.device => [n, h, w],
            _ => {
                let (size, device) = (images.size(), images.device());
                return Err(BridgeError::new(&format!(
                    "images {size:?} on {device:?} are not [N, 3, H, W] on {:?}",
                    self.device
                )));
            }
        };
        let [num_rows, num_columns] = [h, w].map(|size| (size + 1) / 2 + 3);
        let cells = self.activations([n, 16, num_rows, num_columns]);
        let grid = self.blocks(n * num_rows * num_columns * 2, 256);
        let arguments = [(&rows).into(), (&cells).into(), n.into(), h.into(), w.into()];
        self.launch(c"space_to_depth", [grid, 1], &arguments)?;
        Ok(cells)
    }
}
