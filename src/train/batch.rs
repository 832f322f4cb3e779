//! Uploads uint8 images to the device and makes the input of the network from them.

use tch::{Kind, Tensor};

use super::targets::Targets;
use crate::{
    algorithms::{Batch, resize_nearest},
    data::{self, NUM_PINNED_BATCHES, channel_scale},
    libtorch::{BridgeError, Ring},
    model::Place,
};

const LABEL_BYTES: usize = size_of::<i64>();

/// Memory layout of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[N, C, H, W]`.
    ChannelsFirst,
    /// `[N, H, W, C]`, the layout that decoders write.
    ChannelsLast,
}

/// Memory of `num` images of `image_size` px and their labels, bytes.
pub(super) fn num_bytes(num: usize, image_size: usize) -> usize {
    num * (LABEL_BYTES + 3 * image_size * image_size)
}

/// Images and labels on the device, as decoded.
pub(super) struct DeviceBatch {
    /// uint8: N labels of eight bytes, then N images `[image_size, image_size, 3]`.
    bytes: Tensor,
    num: usize,
    /// Height and width, px.
    pub(super) image_size: usize,
}

impl DeviceBatch {
    /// int64 `[N]`.
    fn labels(&self) -> Tensor {
        self.bytes.narrow(0, 0, (self.num * LABEL_BYTES) as i64).view_dtype(Kind::Int64)
    }

    /// uint8 `[N, 3, image_size, image_size]`, channels last.
    fn pixels(&self) -> Tensor {
        let (num, image_size) = (self.num as i64, self.image_size as i64);
        let start = num * LABEL_BYTES as i64;
        let pixels = self.bytes.narrow(0, start, num * image_size * image_size * 3);
        pixels.view([num, image_size, image_size, 3]).permute([0, 3, 1, 2])
    }

    /// A copy in new memory.
    pub(super) fn duplicate(&self) -> Self {
        Self { bytes: self.bytes.copy(), ..*self }
    }

    /// Whether `other` has the same number of images of the same size.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.num, self.image_size) == (other.num, other.image_size)
    }

    /// Copies from a batch of the same shape.
    pub(super) fn copy_from(&self, other: &Self) {
        self.bytes.shallow_clone().copy_(&other.bytes);
    }
}

/// Copies images to the device and normalizes them there.
pub(super) struct Uploader {
    ring: Ring,
    kind: Kind,
    layout: Layout,
    scale: Tensor, // [1, 3, 1, 1]
    shift: Tensor, // [1, 3, 1, 1]
    targets: Targets,
}

impl Uploader {
    /// `mean` and `std` are those of pixels from 0 to 1. `capacity` is [`num_bytes`] of the largest batch.
    pub(super) fn new(
        place: Place,
        capacity: usize,
        layout: Layout,
        [mean, std]: [[f64; 3]; 2],
        targets: Targets,
    ) -> Result<Self, BridgeError> {
        let Place { kind, device } = place;
        let (scale, shift) = channel_scale(mean, std);
        let per_channel = |values: [f64; 3]| {
            let values = Tensor::from_slice(&values).to_kind(kind);
            values.reshape([1, 3, 1, 1]).to_device(device)
        };
        let (scale, shift) = (per_channel(scale), per_channel(shift));
        let ring = Ring::new(device, capacity, NUM_PINNED_BATCHES)?;
        Ok(Self { ring, kind, layout, scale, shift, targets })
    }

    /// The images of `batch` on the device, valid until [`NUM_PINNED_BATCHES`] uploads later. A GPU copies
    /// them while it computes earlier batches.
    pub(super) fn upload(&self, batch: &data::Batch) -> Result<DeviceBatch, BridgeError> {
        self.upload_parts(batch.images(), batch.labels(), batch.image_size)
    }

    /// `num` grey images of `image_size` with label 0, for warming up without data.
    pub(super) fn synthetic(
        &self,
        num: usize,
        image_size: usize,
    ) -> Result<DeviceBatch, BridgeError> {
        self.upload_parts(&vec![128; num * image_size * image_size * 3], &vec![0; num], image_size)
    }

    /// `pixels`: uint8 `[N, image_size, image_size, 3]`.
    pub(super) fn upload_parts(
        &self,
        pixels: &[u8],
        labels: &[i64],
        image_size: usize,
    ) -> Result<DeviceBatch, BridgeError> {
        Ok(DeviceBatch { bytes: self.ring.upload(labels, pixels)?, num: labels.len(), image_size })
    }

    /// Normalized images of `image_size`, and targets of which a fraction `smoothing` is spread.
    /// Neither waits for the host nor reads its memory.
    pub(super) fn batch(
        &self,
        device_batch: &DeviceBatch,
        image_size: usize,
        smoothing: f64,
    ) -> Batch {
        // Bytes are resized, because they take a quarter of the memory of normalized images.
        let pixels = if image_size == device_batch.image_size {
            device_batch.pixels()
        } else {
            resize_nearest(&device_batch.pixels(), image_size)
        };
        let pixels = match self.layout {
            Layout::ChannelsLast => pixels,
            Layout::ChannelsFirst => pixels.contiguous(),
        };
        let images = self.shift.addcmul(&pixels, &self.scale);
        let labels = device_batch.labels();
        Batch { images, targets: self.targets.of(&labels, smoothing, self.kind), labels }
    }
}
