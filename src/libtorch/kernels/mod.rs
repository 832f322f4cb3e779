//! Fused kernels for the network: batch norm, `ReLU`, residual sums, blur and pooling, forward and
//! backward. `cuda/` has their text. NVRTC compiles it at run time for the GPU of the machine; tests
//! compile the same text for the processor.
//!
//! Activations `[N, C, H, W]` are channels last, and C is a multiple of 8. Results do not depend on
//! the order in which blocks finish. A backward method takes what its forward method returned.
#![expect(clippy::many_single_char_names, reason = "N, C, H and W are the field's own names")]

mod blur;
mod cache;
mod driver;
#[cfg(test)]
mod emulation;
mod launch;
mod norm;
mod nvrtc;
mod pool;
mod stem;
#[cfg(test)]
mod tests;
mod update;

use std::path::Path;

use tch::{Device, Kind, Tensor};

pub use norm::{Incoming, Norm, NormGradient};
pub use pool::Pool;
pub(super) use update::ParameterMemory;

use self::{driver::Gpu, launch::Backend};
use super::bridge::{BridgeError, is_channels_last};

/// The kernels' text, in the order of compilation.
pub(crate) const TEXT: [&str; 10] = [
    include_str!("cuda/halves.cuh"),
    include_str!("cuda/storage.cuh"),
    include_str!("cuda/reduce.cuh"),
    include_str!("cuda/norm_forward.cuh"),
    include_str!("cuda/norm_backward.cuh"),
    include_str!("cuda/blur.cuh"),
    include_str!("cuda/pool.cuh"),
    include_str!("cuda/mean.cuh"),
    include_str!("cuda/stem.cuh"),
    include_str!("cuda/update.cuh"),
];

/// Groups of 256 channels that a tensor may have.
const MAX_GROUPS: i64 = 256;

/// Number format of activations. Statistics and sums are fp32, or fp64 with [`Storage::Fp64`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// bfloat16.
    Bf16,
    /// float16.
    Fp16,
    /// float32.
    Fp32,
    /// float64.
    Fp64,
}

impl Storage {
    /// Kind of activations.
    pub fn kind(self) -> Kind {
        match self {
            Self::Bf16 => Kind::BFloat16,
            Self::Fp16 => Kind::Half,
            Self::Fp32 => Kind::Float,
            Self::Fp64 => Kind::Double,
        }
    }

    /// Kind of statistics, parameters of batch norms and their gradients.
    pub fn arithmetic(self) -> Kind {
        match self {
            Self::Bf16 | Self::Fp16 | Self::Fp32 => Kind::Float,
            Self::Fp64 => Kind::Double,
        }
    }

    /// The macro that selects this format in the text.
    fn macro_name(self) -> &'static str {
        match self {
            Self::Bf16 => "STORAGE_BF16",
            Self::Fp16 => "STORAGE_FP16",
            Self::Fp32 => "STORAGE_FP32",
            Self::Fp64 => "STORAGE_FP64",
        }
    }
}

/// Compiled kernels for one storage format on one device.
pub struct Kernels {
    storage: Storage,
    device: Device,
    backend: Backend,
    /// Multiprocessors of the device.
    num_sms: i64,
    /// A zero for each group of channels, before and after every launch.
    counters: Tensor,
}

#[expect(unsafe_code, reason = "the backward pass runs on a thread of autograd's")]
// SAFETY: forward runs on the rank's thread and backward on autograd's, never at the same time,
// because the rank's thread waits for backward to end. The driver's functions may be called from any
// thread, and `counters` lends only its address.
unsafe impl Sync for Kernels {}
#[expect(unsafe_code, reason = "the backward pass runs on a thread of autograd's")]
// SAFETY: no field belongs to the thread that created it.
unsafe impl Send for Kernels {}

impl Kernels {
    /// Kernels for GPU `index`, which this thread must be using. They are compiled unless `folder` has
    /// them.
    pub fn cuda(index: usize, storage: Storage, folder: &Path) -> Result<Self, BridgeError> {
        let gpu = Gpu::load(index, storage, folder)?;
        let num_sms = gpu.num_sms();
        Ok(Self::new(storage, Device::Cuda(index), num_sms, Backend::Gpu(gpu)))
    }

    /// Kernels that run on the processor.
    #[cfg(test)]
    pub fn emulated(storage: Storage) -> Self {
        Self::emulated_from(storage, &TEXT.concat())
    }

    /// Kernels that run on the processor, with this text.
    #[cfg(test)]
    pub(crate) fn emulated_from(storage: Storage, text: &str) -> Self {
        let backend = Backend::Emulated(emulation::Program::compiled(storage, text));
        // Enough that the last block of a reduction adds up partial sums in several rounds.
        Self::new(storage, Device::Cpu, 12, backend)
    }

    fn new(storage: Storage, device: Device, num_sms: i64, backend: Backend) -> Self {
        let counters = Tensor::zeros([MAX_GROUPS], (Kind::Int, device));
        Self { storage, device, backend, num_sms, counters }
    }

    /// Number format of the activations.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// The mean over H and W: `[N, C, H, W]` to `[N, C, 1, 1]`.
    pub fn mean(&self, x: &Tensor) -> Result<Tensor, BridgeError> {
        let [n, c, h, w] = self.sizes(x)?;
        let y = self.activations([n, c, 1, 1]);
        let grid = self.blocks(n * c / 8, 128);
        self.launch(
            c"spatial_mean",
            [grid, 1],
            &[x.into(), (&y).into(), n.into(), (h * w).into(), c.into()],
        )?;
        Ok(y)
    }

    /// Sizes of activations that fit the kernels.
    fn sizes(&self, x: &Tensor) -> Result<[i64; 4], BridgeError> {
        let sizes: [i64; 4] = x
            .size()
            .try_into()
            .map_err(|sizes| BridgeError::new(&format!("{sizes:?} is not [N, C, H, W]")))?;
        if x.kind() != self.storage.kind() || x.device() != self.device {
            let (kind, device) = (x.kind(), x.device());
            let (storage, own) = (self.storage, self.device);
            return Err(BridgeError::new(&format!(
                "a fused kernel for {storage:?} on {own:?} got {kind:?} on {device:?}"
            )));
        }
        if sizes[1] % 8 != 0 || sizes[1] > MAX_GROUPS * 256 || !is_channels_last(x)? {
            return Err(BridgeError::new(&format!(
                "a fused kernel needs channels last and a multiple of 8 channels, not {sizes:?}"
            )));
        }
        Ok(sizes)
    }

    /// Uninitialized activations, channels last.
    fn activations(&self, sizes: [i64; 4]) -> Tensor {
        let [n, c, h, w] = sizes;
        let rows = Tensor::empty([n, h, w, c], (self.storage.kind(), self.device));
        #[cfg(test)]
        let rows = rows.fill(f64::NAN);
        rows.permute([0, 3, 1, 2])
    }

    /// Uninitialized numbers of the arithmetic.
    fn numbers(&self, sizes: &[i64]) -> Tensor {
        let numbers = Tensor::empty(sizes, (self.storage.arithmetic(), self.device));
        #[cfg(test)]
        let numbers = numbers.fill(f64::NAN);
        numbers
    }

    /// Uninitialized bytes.
    fn bytes(&self, sizes: &[i64]) -> Tensor {
        Tensor::empty(sizes, (Kind::Uint8, self.device))
    }

    /// Blocks for a pass over `items`, at `per_block` a block, that fill the device.
    fn blocks(&self, items: i64, per_block: i64) -> u32 {
        const BLOCKS_PER_SM: i64 = 8;
        ((items + per_block - 1) / per_block).clamp(1, self.num_sms * BLOCKS_PER_SM) as u32
    }
}
