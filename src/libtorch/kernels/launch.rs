//! Launching a kernel with typed arguments.
#![expect(unsafe_code, reason = "kernels take raw pointers")]

use std::{
    ffi::{CStr, c_void},
    ptr,
};

use tch::{Device, Tensor};

#[cfg(test)]
use super::emulation::Program;
use super::{Kernels, driver::Gpu};
use crate::libtorch::{bridge::BridgeError, device::current_stream};

/// What runs the kernels.
pub(super) enum Backend {
    Gpu(Gpu),
    #[cfg(test)]
    Emulated(Program),
}

/// The largest number of parameters of a kernel.
const MAX_ARGUMENTS: usize = 24;

/// An argument of a kernel, in its 8 bytes: an address, a 32-bit or 64-bit integer, or a double.
#[derive(Clone, Copy)]
pub(super) struct Argument(u64);

impl From<&Tensor> for Argument {
    fn from(tensor: &Tensor) -> Self {
        Self(tensor.data_ptr() as u64)
    }
}

impl From<i64> for Argument {
    /// A kernel that expects 32 bits reads the lower half.
    fn from(value: i64) -> Self {
        Self(value as u64)
    }
}

impl From<f64> for Argument {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

impl Argument {
    pub(super) const NULL: Self = Self(0);
}

impl Kernels {
    /// Runs kernel `name` on this thread's stream. The arguments must be those of its definition, in
    /// order, and tensors must have the sizes that the kernel expects.
    pub(super) fn launch(
        &self,
        name: &CStr,
        grid: [u32; 2],
        arguments: &[Argument],
    ) -> Result<(), BridgeError> {
        let (mut slots, mut addresses) = ([0; MAX_ARGUMENTS], [ptr::null_mut(); MAX_ARGUMENTS]);
        put(arguments, &mut slots, &mut addresses);
        self.launch_at(name, grid, &mut addresses)
    }

    /// [`Kernels::launch`] of a kernel whose first parameter is a struct, by value.
    pub(super) fn launch_on<T>(
        &self,
        name: &CStr,
        grid: [u32; 2],
        first: &T,
        arguments: &[Argument],
    ) -> Result<(), BridgeError> {
        let (mut slots, mut addresses) = ([0; MAX_ARGUMENTS], [ptr::null_mut(); MAX_ARGUMENTS]);
        addresses[0] = ptr::from_ref(first).cast_mut().cast();
        put(arguments, &mut slots, &mut addresses[1..]);
        self.launch_at(name, grid, &mut addresses)
    }

    fn launch_at(
        &self,
        name: &CStr,
        grid: [u32; 2],
        addresses: &mut [*mut c_void],
    ) -> Result<(), BridgeError> {
        match (&self.backend, self.device) {
            (Backend::Gpu(gpu), Device::Cuda(index)) => {
                // SAFETY: the addresses outlive the call; the methods of `Kernels` pass the arguments
                // of the definition.
                unsafe { gpu.launch(name, grid, current_stream(index)?, addresses) }
            }
            #[cfg(test)]
            (Backend::Emulated(program), _) => {
                // SAFETY: as above.
                unsafe { program.run(name, grid, addresses) };
                Ok(())
            }
            (Backend::Gpu(_), device) => Err(BridgeError::new(&format!(
                "the kernels were compiled for a GPU, not {device:?}"
            ))),
        }
    }
}

/// Puts arguments into `slots`, and the slots' addresses into `addresses`.
fn put(arguments: &[Argument], slots: &mut [u64], addresses: &mut [*mut c_void]) {
    for ((slot, address), Argument(bits)) in slots.iter_mut().zip(addresses).zip(arguments) {
        *slot = *bits;
        *address = (&raw mut *slot).cast();
    }
}
