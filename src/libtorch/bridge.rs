//! Safe faces of the functions in `bridge.h`.
//!
//! The rules that each `unsafe` here stands on:
//!
//! 1. A `Tensor` of tch is one `at::Tensor` on the heap; `as_ptr` lends it, `from_ptr` takes it.
//!    Both lie behind the same pointer type in C++, so a cast between them changes nothing.
//! 2. Handles (`MlGroup`, `MlReducer`, `MlAutocast`; `MlParams`, `MlList`, `MlGraph` and `MlRing`
//!    in files of their own) come from their `_new`, `_enter` or `_begin`, live in exactly one Rust
//!    value and are freed in its `Drop`, once.
//! 3. No C++ exception and no Rust panic crosses: each function catches and returns a code.
//! 4. Pointers to slices are read during the call only; C++ keeps copies of the tensors, never of
//!    the pointers.
//! 5. Handles hold thread-local or single-threaded state and so are neither `Send` nor `Sync`
//!    (raw pointers already see to that).
#![expect(unsafe_code, reason = "this file is the bridge to C++; see its rules")]

use std::{
    ffi::{CStr, CString, c_char, c_int},
    ptr,
};

use tch::Tensor;
use torch_sys::C_tensor;

/// What libtorch said when a call failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BridgeError(String);

#[repr(C)]
struct RawWorld {
    host: *const c_char,
    port: u16,
    rank: c_int,
    world_size: c_int,
    timeout_ms: u64,
}

#[repr(C)]
struct MlGroup([u8; 0]);
#[repr(C)]
struct MlReducer([u8; 0]);
#[repr(C)]
struct MlAutocast([u8; 0]);

unsafe extern "C" {
    fn ml_last_error() -> *const c_char;
    fn ml_torch_version() -> *const c_char;
    fn ml_group_new(world: *const RawWorld, out: *mut *mut MlGroup) -> c_int;
    fn ml_group_free(group: *mut MlGroup);
    fn ml_group_sum(group: *mut MlGroup, tensor: *const C_tensor) -> c_int;
    fn ml_group_mean(group: *mut MlGroup, tensors: *const *const C_tensor, n: usize) -> c_int;
    fn ml_group_broadcast(group: *mut MlGroup, tensors: *const *const C_tensor, n: usize) -> c_int;
    fn ml_group_barrier(group: *mut MlGroup) -> c_int;
    fn ml_group_attach_nccl(group: *mut MlGroup, world: *const RawWorld, device: c_int) -> c_int;
    fn ml_reducer_new(
        group: *mut MlGroup,
        params: *const *const C_tensor,
        n: usize,
        bucket_bytes: usize,
        out: *mut *mut MlReducer,
    ) -> c_int;
    fn ml_reducer_free(reducer: *mut MlReducer);
    fn ml_reducer_before_forward(reducer: *mut MlReducer) -> c_int;
    fn ml_reducer_before_backward(reducer: *mut MlReducer) -> c_int;
    fn ml_set_channels_last(tensor: *const C_tensor) -> c_int;
    fn ml_is_channels_last(tensor: *const C_tensor, out: *mut u8) -> c_int;
    fn ml_set_math(tf32: u8, benchmark: u8, deterministic: u8) -> c_int;
    fn ml_autocast_enter(cuda: u8, bf16: u8, out: *mut *mut MlAutocast) -> c_int;
    fn ml_autocast_exit(guard: *mut MlAutocast);
    fn ml_rng_state(device_of: *const C_tensor, out: *mut *mut C_tensor) -> c_int;
    fn ml_set_rng_state(device_of: *const C_tensor, state: *const C_tensor) -> c_int;
}

impl BridgeError {
    pub(super) fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// Turns a code into a result with libtorch's first line.
pub(super) fn check(code: c_int) -> Result<(), BridgeError> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the text is thread-local, ends with NUL and lives until this thread's next failure.
    let text = unsafe { CStr::from_ptr(ml_last_error()) }.to_string_lossy();
    Err(BridgeError(text.lines().next().unwrap_or("no reason given").to_owned()))
}

/// Lends tensors to one call (rules 1 and 4).
pub(super) fn lend<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

/// Version of the libtorch headers that this program was built with.
pub fn torch_version() -> &'static str {
    // SAFETY: a string constant of the library.
    unsafe { CStr::from_ptr(ml_torch_version()) }.to_str().expect("a version is ASCII")
}

/// Where ranks meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// Host of rank 0.
    pub host: String,
    /// Port that rank 0 listens on.
    pub port: u16,
    /// This rank.
    pub rank: usize,
    /// Ranks.
    pub world_size: usize,
    /// After so long a collective has failed.
    pub timeout_s: u64,
}

impl RawWorld {
    fn new(meeting: &Rendezvous, host: &CStr) -> Self {
        Self {
            host: host.as_ptr(),
            port: meeting.port,
            rank: meeting.rank as c_int,
            world_size: meeting.world_size as c_int,
            timeout_ms: meeting.timeout_s * 1000,
        }
    }
}

fn c_host(meeting: &Rendezvous) -> Result<CString, BridgeError> {
    CString::new(meeting.host.as_str()).map_err(|e| BridgeError(e.to_string()))
}

/// A c10d process group.
pub struct Group(*mut MlGroup);

impl Group {
    /// Joins the others; blocks until all are there. Collectives on CPU tensors go by Gloo.
    pub fn join(meeting: &Rendezvous) -> Result<Self, BridgeError> {
        let host = c_host(meeting)?;
        let world = RawWorld::new(meeting, &host);
        let mut out = ptr::null_mut();
        // SAFETY: `world` and `host` outlive the call; rule 2.
        check(unsafe { ml_group_new(&raw const world, &raw mut out) })?;
        Ok(Self(out))
    }

    /// Adds NCCL for tensors on GPU `device`.
    pub fn attach_nccl(&self, meeting: &Rendezvous, device: usize) -> Result<(), BridgeError> {
        let host = c_host(meeting)?;
        let world = RawWorld::new(meeting, &host);
        // SAFETY: `world` and `host` outlive the call; rule 2.
        check(unsafe { ml_group_attach_nccl(self.0, &raw const world, device as c_int) })
    }

    /// Sums a tensor over all ranks, in place.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), BridgeError> {
        // SAFETY: rules 1 and 2.
        check(unsafe { ml_group_sum(self.0, tensor.as_ptr()) })
    }

    /// Makes each of the tensors its mean over all ranks. They are all on one device.
    pub fn mean<'a>(
        &self,
        tensors: impl IntoIterator<Item = &'a Tensor>,
    ) -> Result<(), BridgeError> {
        let lent = lend(tensors);
        // SAFETY: rules 1, 2 and 4.
        check(unsafe { ml_group_mean(self.0, lent.as_ptr(), lent.len()) })
    }

    /// Overwrites the tensors with rank 0's.
    pub fn broadcast<'a>(
        &self,
        tensors: impl IntoIterator<Item = &'a Tensor>,
    ) -> Result<(), BridgeError> {
        let lent = lend(tensors);
        // SAFETY: rules 1, 2 and 4.
        check(unsafe { ml_group_broadcast(self.0, lent.as_ptr(), lent.len()) })
    }

    /// Waits until all ranks are here.
    pub fn barrier(&self) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_group_barrier(self.0) })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: rule 2.
        unsafe { ml_group_free(self.0) }
    }
}

/// `c10d::Reducer`: gradients are means over ranks when backward returns.
pub struct Reducer(*mut MlReducer);

impl Reducer {
    /// A reducer for `params`, in the order of the forward pass on all ranks alike.
    pub fn new<'a>(
        group: &Group,
        params: impl IntoIterator<Item = &'a Tensor>,
        bucket_bytes: usize,
    ) -> Result<Self, BridgeError> {
        let (lent, mut out) = (lend(params), ptr::null_mut());
        // SAFETY: rules 1, 2 and 4; C++ shares ownership of the group.
        check(unsafe {
            ml_reducer_new(group.0, lent.as_ptr(), lent.len(), bucket_bytes, &raw mut out)
        })?;
        Ok(Self(out))
    }

    /// To be called before each forward in training.
    pub fn before_forward(&self) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_reducer_before_forward(self.0) })
    }

    /// To be called between forward and backward.
    pub fn before_backward(&self) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_reducer_before_backward(self.0) })
    }
}

impl Drop for Reducer {
    fn drop(&mut self) {
        // SAFETY: rule 2.
        unsafe { ml_reducer_free(self.0) }
    }
}

/// How GPUs compute in fp32, and which algorithms are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Math {
    /// Products of fp32 numbers with 10 bits of mantissa, on tensor cores.
    pub tf32: bool,
    /// cuDNN times its kernels at the first call of each shape and keeps the fastest.
    pub benchmark: bool,
    /// Algorithms whose results do not depend on how threads take turns, where there are such.
    pub deterministic: bool,
}

impl Math {
    /// Makes it the rule of this process.
    pub fn set(self) -> Result<(), BridgeError> {
        let [tf32, benchmark, deterministic] =
            [self.tf32, self.benchmark, self.deterministic].map(u8::from);
        // SAFETY: rule 3; numbers cross.
        check(unsafe { ml_set_math(tf32, benchmark, deterministic) })
    }
}

/// Number format of an autocast region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfKind {
    /// 8 bits of exponent.
    Bf16,
    /// 5 bits of exponent.
    Fp16,
}

/// Autocast is on for this thread and device type while this lives.
pub struct Autocast(*mut MlAutocast);

impl Autocast {
    /// Switches it on for tensors on `device`.
    pub fn enter(device: tch::Device, kind: HalfKind) -> Result<Self, BridgeError> {
        let mut out = ptr::null_mut();
        let (cuda, bf16) = (u8::from(device.is_cuda()), u8::from(kind == HalfKind::Bf16));
        // SAFETY: rule 2.
        check(unsafe { ml_autocast_enter(cuda, bf16, &raw mut out) })?;
        Ok(Self(out))
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: rule 2.
        unsafe { ml_autocast_exit(self.0) }
    }
}

/// Lays the tensor's numbers out as `[N, H, W, C]` in memory, in place, 1x1 weights too.
pub fn set_channels_last(tensor: &Tensor) -> Result<(), BridgeError> {
    // SAFETY: rule 1.
    check(unsafe { ml_set_channels_last(tensor.as_ptr()) })
}

/// Whether the tensor lies so.
pub fn is_channels_last(tensor: &Tensor) -> Result<bool, BridgeError> {
    let mut out = 0;
    // SAFETY: rule 1.
    check(unsafe { ml_is_channels_last(tensor.as_ptr(), &raw mut out) })?;
    Ok(out != 0)
}

/// State of torch's random numbers on the device of `tensor`.
pub fn rng_state(tensor: &Tensor) -> Result<Tensor, BridgeError> {
    let mut out = ptr::null_mut();
    // SAFETY: rule 1, for the lent tensor and for the new one.
    check(unsafe { ml_rng_state(tensor.as_ptr(), &raw mut out) })?;
    // SAFETY: rule 1.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Puts back a state of [`rng_state`].
pub fn set_rng_state(tensor: &Tensor, state: &Tensor) -> Result<(), BridgeError> {
    // SAFETY: rule 1.
    check(unsafe { ml_set_rng_state(tensor.as_ptr(), state.as_ptr()) })
}
