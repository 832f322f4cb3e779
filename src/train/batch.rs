//! From uint8 pictures to what the network eats.

use tch::{Device, Kind, Tensor};

use super::targets::Targets;
use crate::{
    algorithms::Batch,
    data::{self, channel_scale},
};

/// How images lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[N, C, H, W]`.
    ChannelsFirst,
    /// `[N, H, W, C]`, which is how pictures are decoded.
    ChannelsLast,
}

/// Moves batches to the device and normalises them there.
pub(super) struct Uploader {
    kind: Kind,
    device: Device,
    layout: Layout,
    scale: Tensor, // [1, 3, 1, 1]
    shift: Tensor, // [1, 3, 1, 1]
    targets: Targets,
}

impl Uploader {
    /// `mean` and `std` are of pixels 0 to 1.
    pub(super) fn new(
        (kind, device): (Kind, Device),
        layout: Layout,
        (mean, std): ([f64; 3], [f64; 3]),
        targets: Targets,
    ) -> Self {
        let (scale, shift) = channel_scale(mean, std);
        let per_channel = |values: [f64; 3]| {
            let values = Tensor::from_slice(&values).to_kind(kind);
            values.reshape([1, 3, 1, 1]).to_device(device)
        };
        Self { kind, device, layout, scale: per_channel(scale), shift: per_channel(shift), targets }
    }

    /// The batch on the device.
    pub(super) fn upload(&self, batch: &data::Batch) -> Batch {
        self.upload_parts(batch.images(), batch.labels(), batch.side)
    }

    /// A batch of `n` grey images of side `side` with label 0, for warming up without data.
    pub(super) fn synthetic(&self, n: usize, side: usize) -> Batch {
        self.upload_parts(&vec![128; n * side * side * 3], &vec![0; n], side)
    }

    /// `bytes`: uint8 `[N, side, side, 3]`.
    pub(super) fn upload_parts(&self, bytes: &[u8], labels: &[i64], side: usize) -> Batch {
        let (n, side) = (labels.len() as i64, side as i64);
        let bytes = Tensor::from_data_size(bytes, &[n, side, side, 3], Kind::Uint8);
        let images = bytes.to_device(self.device).permute([0, 3, 1, 2]).to_kind(self.kind);
        let images = match self.layout {
            Layout::ChannelsLast => images,
            Layout::ChannelsFirst => images.contiguous(),
        };
        let images = (images * &self.scale) + &self.shift;
        let labels = Tensor::from_slice(labels).to_device(self.device);
        Batch { images, targets: self.targets.of(&labels, self.kind), labels }
    }
}
