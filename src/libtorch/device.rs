//! Safe wrappers of `device.cc`: a GPU's stream and memory, CUDA graphs, and uploads of batches.
//! The safety rules are those of `bridge.rs`.
#![expect(unsafe_code, reason = "this file is the bridge to C++; see the rules of bridge.rs")]

use std::{
    ffi::{c_char, c_int, c_void},
    ptr,
};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::bridge::{BridgeError, check};

#[repr(C)]
struct MlGraph([u8; 0]);
#[repr(C)]
struct MlRing([u8; 0]);
#[repr(C)]
struct MlReadout([u8; 0]);

#[repr(C)]
struct RawBytes {
    bytes: *const u8,
    size: usize,
}

unsafe extern "C" {
    fn ml_load_library(path: *const c_char) -> c_int;
    fn ml_load_cuda(library: *const u8, n: usize) -> c_int;
    fn ml_use_gpu(index: c_int, timeout_ms: u64) -> c_int;
    fn ml_peak_bytes(index: c_int, out: *mut u64) -> c_int;
    fn ml_current_stream(index: c_int, out: *mut *mut c_void) -> c_int;
    fn ml_graph_begin(index: c_int, pool_of: *const MlGraph, out: *mut *mut MlGraph) -> c_int;
    fn ml_graph_end(graph: *mut MlGraph) -> c_int;
    fn ml_graph_replay(graph: *mut MlGraph) -> c_int;
    fn ml_graph_free(graph: *mut MlGraph);
    fn ml_ring_new(index: c_int, capacity: usize, num_slots: usize, out: *mut *mut MlRing)
    -> c_int;
    fn ml_ring_free(ring: *mut MlRing);
    fn ml_ring_upload(
        ring: *mut MlRing,
        parts: *const RawBytes,
        n: usize,
        out: *mut *mut C_tensor,
    ) -> c_int;
    fn ml_readout_new(number: *const C_tensor, out: *mut *mut MlReadout) -> c_int;
    fn ml_readout_free(readout: *mut MlReadout);
    fn ml_readout_get(readout: *mut MlReadout, out: *mut f64, n: usize) -> c_int;
}

/// The library built from `cuda.cc`; empty if the build found no CUDA headers.
static CUDA_BRIDGE: &[u8] = include_bytes!(env!("MLPERF_RUN_CUDA_BRIDGE"));

/// Loads libtorch's CUDA half and our bridge to it. This must be the process's first call to
/// libtorch, because others make libtorch initialize without CUDA.
pub fn load_cuda() -> Result<(), BridgeError> {
    if CUDA_BRIDGE.is_empty() {
        return Err(BridgeError::new("this program was built without CUDA's headers"));
    }
    // SAFETY: a NUL-terminated string; rule 4.
    check(unsafe { ml_load_library(c"libtorch_cuda.so".as_ptr()) })?;
    // SAFETY: rule 4.
    check(unsafe { ml_load_cuda(CUDA_BRIDGE.as_ptr(), CUDA_BRIDGE.len()) })
}

/// Makes this thread use GPU `index`, on a stream that supports capture. Waits for the GPU fail
/// after `timeout_s`.
pub fn use_gpu(index: usize, timeout_s: u64) -> Result<(), BridgeError> {
    // SAFETY: rule 3; only numbers are passed.
    check(unsafe { ml_use_gpu(index as c_int, timeout_s * 1000) })
}

/// The CUDA stream that this thread uses on GPU `index`.
pub(super) fn current_stream(index: usize) -> Result<*mut c_void, BridgeError> {
    let mut out = ptr::null_mut();
    // SAFETY: `out` outlives the call.
    check(unsafe { ml_current_stream(index as c_int, &raw mut out) })?;
    Ok(out)
}

/// The peak memory that this process has allocated on GPU `index`, in bytes.
pub fn peak_gpu_bytes(index: usize) -> Result<u64, BridgeError> {
    let mut out = 0;
    // SAFETY: `out` outlives the call.
    check(unsafe { ml_peak_bytes(index as c_int, &raw mut out) })?;
    Ok(out)
}

/// An ongoing stream capture; see [`Graph`].
pub struct Capturing(*mut MlGraph);

impl Capturing {
    /// Starts to capture this thread's work on GPU `index`, until [`Capturing::end`]. Synchronizing
    /// with the GPU or copying from pageable memory makes the capture fail. The graph shares the
    /// memory pool of `pool_of`, so the two must not run at the same time.
    pub fn begin(index: usize, pool_of: Option<&Graph>) -> Result<Self, BridgeError> {
        let pool_of = pool_of.map_or(ptr::null(), |graph| graph.0.0.cast_const());
        let mut out = ptr::null_mut();
        // SAFETY: rule 2; null stands for "not given".
        check(unsafe { ml_graph_begin(index as c_int, pool_of, &raw mut out) })?;
        Ok(Self(out))
    }

    /// Ends the capture and returns the graph.
    pub fn end(self) -> Result<Graph, BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_graph_end(self.0) })?;
        Ok(Graph(self))
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        // SAFETY: rule 2; an unfinished capture is abandoned.
        unsafe { ml_graph_free(self.0) }
    }
}

/// A CUDA graph: one launch repeats the captured work, on the memory with which it was captured.
pub struct Graph(Capturing);

impl Graph {
    /// Launches the graph; returns before the work is done.
    pub fn replay(&self) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_graph_replay(self.0.0) })
    }
}

/// A ring of buffers for uploading batches while the device works on earlier ones. On a GPU it uses
/// pinned memory and a separate copy stream; on the CPU it is a set of buffers used in turn.
pub struct Ring(*mut MlRing);

impl Ring {
    /// `num_slots` buffers of `capacity` bytes each, on `device`.
    pub fn new(device: Device, capacity: usize, num_slots: usize) -> Result<Self, BridgeError> {
        let index = match device {
            Device::Cuda(index) => index as c_int,
            _ => -1,
        };
        let mut out = ptr::null_mut();
        // SAFETY: rule 2.
        check(unsafe { ml_ring_new(index, capacity, num_slots, &raw mut out) })?;
        Ok(Self(out))
    }

    /// Uploads `numbers` followed by `bytes` as a uint8 tensor `[size]`. The device sees it when
    /// its own work gets there. The tensor stays valid until `num_slots` uploads later. Blocks only
    /// if the host is a whole ring ahead of the copies.
    pub fn upload(&self, numbers: &[i64], bytes: &[u8]) -> Result<Tensor, BridgeError> {
        let parts = [
            RawBytes { bytes: numbers.as_ptr().cast(), size: size_of_val(numbers) },
            RawBytes { bytes: bytes.as_ptr(), size: bytes.len() },
        ];
        let mut out = ptr::null_mut();
        // SAFETY: rules 2 and 4; every i64 is eight bytes.
        check(unsafe { ml_ring_upload(self.0, parts.as_ptr(), parts.len(), &raw mut out) })?;
        // SAFETY: rule 1; we own `out`.
        Ok(unsafe { Tensor::from_ptr(out) })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: rule 2.
        unsafe { ml_ring_free(self.0) }
    }
}

/// Numbers that are being copied from the device to the host.
pub struct Readout {
    raw: *mut MlReadout,
    num: usize,
}

// SAFETY: a tensor and an event, which any thread may wait for; only one thread has them.
unsafe impl Send for Readout {}

impl Readout {
    /// The values that `numbers`, `[]` or `[N]`, will have after the device's work so far.
    pub fn of(numbers: &Tensor) -> Result<Self, BridgeError> {
        let mut raw = ptr::null_mut();
        // SAFETY: rules 1 and 2.
        check(unsafe { ml_readout_new(numbers.as_ptr(), &raw mut raw) })?;
        Ok(Self { raw, num: numbers.numel() })
    }

    /// The numbers; blocks until the device has computed them.
    pub fn values(&self) -> Result<Vec<f64>, BridgeError> {
        let mut out = vec![0.0; self.num];
        // SAFETY: rule 2; `out` has as many numbers as are written, and outlives the call.
        check(unsafe { ml_readout_get(self.raw, out.as_mut_ptr(), out.len()) })?;
        Ok(out)
    }

    /// The only number; blocks until the device has computed it.
    pub fn value(&self) -> Result<f64, BridgeError> {
        match self.values()?[..] {
            [value] => Ok(value),
            _ => Err(BridgeError::new("several numbers are not one")),
        }
    }
}

impl Drop for Readout {
    fn drop(&mut self) {
        // SAFETY: rule 2.
        unsafe { ml_readout_free(self.raw) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(tensor: &Tensor) -> Vec<u8> {
        Vec::try_from(tensor).unwrap()
    }

    #[test]
    fn a_batch_stays_valid_until_its_buffer_is_reused() {
        let ring = Ring::new(Device::Cpu, 10, 2).unwrap();
        let first = ring.upload(&[], &[1, 2, 3]).unwrap();
        let second = ring.upload(&[-1], &[6, 7]).unwrap();
        assert_eq!(numbers(&first), [1, 2, 3]);
        let third = ring.upload(&[], &[8, 9, 10]).unwrap();
        assert_eq!(numbers(&third), [8, 9, 10]);
        assert_eq!(numbers(&first), [8, 9, 10], "the same buffer");
        assert_eq!(numbers(&second), [255, 255, 255, 255, 255, 255, 255, 255, 6, 7]);
    }

    #[test]
    fn a_batch_larger_than_its_buffer_is_rejected() {
        let ring = Ring::new(Device::Cpu, 4, 2).unwrap();
        let error = ring.upload(&[], &[0; 5]).unwrap_err().to_string();
        assert!(error.contains("a batch of 5 bytes for 4"), "{error}");
        assert_eq!(numbers(&ring.upload(&[], &[7]).unwrap()), [7], "the ring still works");
    }

    #[test]
    fn a_readout_has_the_value_at_the_time_of_the_call() {
        let number = Tensor::from(1.5f32);
        let readout = Readout::of(&number).unwrap();
        drop(number.shallow_clone().zero_());
        assert_eq!((readout.value().unwrap(), f64::try_from(&number).unwrap()), (1.5, 0.0));
        let two = Readout::of(&Tensor::from_slice(&[2.0f32, 0.25])).unwrap();
        assert_eq!(two.values().unwrap(), [2.0, 0.25]);
        assert!(two.value().is_err(), "two numbers are not one");
    }

    #[test]
    fn capturing_without_a_gpu_is_an_error() {
        let error = Capturing::begin(0, None).err().expect("no GPU has been loaded").to_string();
        assert!(error.contains("CUDA"), "{error}");
    }
}
