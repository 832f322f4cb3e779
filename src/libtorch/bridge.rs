//! Safe wrappers of the functions in `bridge.h`.
//!
//! The safety rules on which each `unsafe` relies:
//!
//! 1. A `Tensor` of tch is one `at::Tensor` on the heap; `as_ptr` borrows it, `from_ptr` takes
//!    ownership. Both use the same C++ pointer type, so a cast between them changes nothing.
//! 2. Handles (`MlGroup`, `MlReducer`, `MlAutocast`; `MlParams`, `MlList`, `MlGraph` and `MlRing`
//!    in other files) come from their `_new`, `_enter` or `_begin`, belong to exactly one Rust
//!    value and are freed once, in its `Drop`.
//! 3. No C++ exception and no Rust panic crosses the boundary: each function catches exceptions and
//!    returns a code.
//! 4. Pointers to slices are read only during the call. C++ may keep the tensors, but never the
//!    pointers.
//! 5. Handles hold thread-local or single-threaded state. They are neither `Send` nor `Sync`,
//!    because they contain raw pointers.
#![expect(unsafe_code, reason = "this file is the bridge to C++; see its rules")]

use std::{
    ffi::{CStr, CString, c_char, c_int},
    ptr,
};

use tch::Tensor;
use torch_sys::C_tensor;

/// libtorch's message for a failed call.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BridgeError(String);

#[repr(C)]
struct RawWorld {
    host: *const c_char,
    port: u16,
    rank: c_int,
    world_size: c_int,
    join_timeout_ms: u64,
    timeout_ms: u64,
    store_name: *const c_char,
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
    fn ml_group_mean(
        group: *mut MlGroup,
        tensors: *const *const C_tensor,
        n: usize,
        compression: u8,
    ) -> c_int;
    fn ml_group_broadcast(group: *mut MlGroup, tensors: *const *const C_tensor, n: usize) -> c_int;
    fn ml_group_barrier(group: *mut MlGroup) -> c_int;
    fn ml_group_attach_nccl(group: *mut MlGroup, world: *const RawWorld, device: c_int) -> c_int;
    fn ml_reducer_new(
        group: *mut MlGroup,
        params: *const *const C_tensor,
        n: usize,
        bucket_bytes: usize,
        compression: u8,
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

/// Converts a return code; the error is the first line of libtorch's message.
pub(super) fn check(code: c_int) -> Result<(), BridgeError> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the text is thread-local, NUL-terminated and valid until this thread's next failure.
    let text = unsafe { CStr::from_ptr(ml_last_error()) }.to_string_lossy();
    Err(BridgeError(text.lines().next().unwrap_or("no reason given").to_owned()))
}

/// Borrows tensors for one call (rules 1 and 4).
pub(super) fn lend<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

/// Version of the libtorch headers with which this program was built.
pub fn torch_version() -> &'static str {
    // SAFETY: a string constant of the library.
    unsafe { CStr::from_ptr(ml_torch_version()) }.to_str().expect("a version is ASCII")
}

/// The address where ranks meet, and this rank's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// Host of rank 0.
    pub host: String,
    /// Port that rank 0 listens on.
    pub port: u16,
    /// This rank.
    pub rank: usize,
    /// Number of ranks.
    pub world_size: usize,
    /// Timeouts of joining and of collectives.
    pub timeouts: GroupTimeouts,
    /// Under which name the ranks of this run meet.
    pub store_name: String,
}

/// How long ranks wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTimeouts {
    /// Until all have joined.
    pub join_s: u64,
    /// In a collective.
    pub collective_s: u64,
}

impl RawWorld {
    fn new(meeting: &Rendezvous, [host, store_name]: [&CStr; 2]) -> Self {
        Self {
            host: host.as_ptr(),
            port: meeting.port,
            rank: meeting.rank as c_int,
            world_size: meeting.world_size as c_int,
            join_timeout_ms: meeting.timeouts.join_s * 1000,
            timeout_ms: meeting.timeouts.collective_s * 1000,
            store_name: store_name.as_ptr(),
        }
    }
}

/// The texts of a [`RawWorld`]: host and name.
fn c_texts(meeting: &Rendezvous) -> Result<[CString; 2], BridgeError> {
    let text = |text: &str| CString::new(text).map_err(|e| BridgeError(e.to_string()));
    Ok([text(&meeting.host)?, text(&meeting.store_name)?])
}

/// The number by which C++ knows a compression.
fn code(compression: Option<HalfKind>) -> u8 {
    match compression {
        None => 0,
        Some(HalfKind::Fp16) => 1,
        Some(HalfKind::Bf16) => 2,
    }
}

/// A c10d process group.
pub struct Group(*mut MlGroup);

impl Group {
    /// Joins the group; blocks until all ranks have joined. CPU tensors use Gloo.
    pub fn join(meeting: &Rendezvous) -> Result<Self, BridgeError> {
        let [host, store_name] = c_texts(meeting)?;
        let world = RawWorld::new(meeting, [&host, &store_name]);
        let mut out = ptr::null_mut();
        // SAFETY: `world`, `host` and `store_name` outlive the call; rule 2.
        check(unsafe { ml_group_new(&raw const world, &raw mut out) })?;
        Ok(Self(out))
    }

    /// Adds NCCL for tensors on GPU `device`.
    pub fn attach_nccl(&self, meeting: &Rendezvous, device: usize) -> Result<(), BridgeError> {
        let [host, store_name] = c_texts(meeting)?;
        let world = RawWorld::new(meeting, [&host, &store_name]);
        // SAFETY: `world`, `host` and `store_name` outlive the call; rule 2.
        check(unsafe { ml_group_attach_nccl(self.0, &raw const world, device as c_int) })
    }

    /// Sums a tensor over all ranks, in place.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), BridgeError> {
        // SAFETY: rules 1 and 2.
        check(unsafe { ml_group_sum(self.0, tensor.as_ptr()) })
    }

    /// Averages each tensor over all ranks, in place. All tensors must be on one device. They travel in
    /// their own number format or in that of `compression`.
    pub fn mean<'a>(
        &self,
        tensors: impl IntoIterator<Item = &'a Tensor>,
        compression: Option<HalfKind>,
    ) -> Result<(), BridgeError> {
        let lent = lend(tensors);
        // SAFETY: rules 1, 2 and 4.
        check(unsafe { ml_group_mean(self.0, lent.as_ptr(), lent.len(), code(compression)) })
    }

    /// Broadcasts rank 0's tensors, in place.
    pub fn broadcast<'a>(
        &self,
        tensors: impl IntoIterator<Item = &'a Tensor>,
    ) -> Result<(), BridgeError> {
        let lent = lend(tensors);
        // SAFETY: rules 1, 2 and 4.
        check(unsafe { ml_group_broadcast(self.0, lent.as_ptr(), lent.len()) })
    }

    /// Waits until all ranks get here.
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

/// `c10d::Reducer`: averages gradients over ranks during the backward pass.
pub struct Reducer(*mut MlReducer);

impl Reducer {
    /// A reducer for `params`, given in the order of the forward pass, the same on all ranks. Gradients
    /// travel in their own number format or in that of `compression`.
    pub fn new<'a>(
        group: &Group,
        params: impl IntoIterator<Item = &'a Tensor>,
        bucket_bytes: usize,
        compression: Option<HalfKind>,
    ) -> Result<Self, BridgeError> {
        let (lent, mut out) = (lend(params), ptr::null_mut());
        // SAFETY: rules 1, 2 and 4; C++ shares ownership of the group.
        check(unsafe {
            ml_reducer_new(
                group.0,
                lent.as_ptr(),
                lent.len(),
                bucket_bytes,
                code(compression),
                &raw mut out,
            )
        })?;
        Ok(Self(out))
    }

    /// Must be called before each training forward pass.
    pub fn before_forward(&self) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_reducer_before_forward(self.0) })
    }

    /// Must be called between forward and backward.
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

/// Settings for fp32 arithmetic and for the choice of algorithms on GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Math {
    /// Use TF32 (10 bits of mantissa) on tensor cores for products of fp32 numbers.
    pub tf32: bool,
    /// Let cuDNN time its kernels at the first call with each shape and use the fastest.
    pub benchmark: bool,
    /// Use deterministic algorithms where available.
    pub deterministic: bool,
}

impl Math {
    /// Applies the settings to this process.
    pub fn set(self) -> Result<(), BridgeError> {
        let [tf32, benchmark, deterministic] =
            [self.tf32, self.benchmark, self.deterministic].map(u8::from);
        // SAFETY: rule 3; only numbers are passed.
        check(unsafe { ml_set_math(tf32, benchmark, deterministic) })
    }
}

/// Number format in an autocast region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfKind {
    /// bfloat16, with 8 bits of exponent.
    Bf16,
    /// float16, with 5 bits of exponent.
    Fp16,
}

/// Enables autocast for this thread and device type while it exists.
pub struct Autocast(*mut MlAutocast);

impl Autocast {
    /// Enables autocast for tensors on `device`.
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

/// Converts the tensor to channels-last memory format (`[N, H, W, C]`) in place, including 1x1
/// weights.
pub fn set_channels_last(tensor: &Tensor) -> Result<(), BridgeError> {
    // SAFETY: rule 1.
    check(unsafe { ml_set_channels_last(tensor.as_ptr()) })
}

/// Whether the tensor has channels-last memory format.
pub fn is_channels_last(tensor: &Tensor) -> Result<bool, BridgeError> {
    let mut out = 0;
    // SAFETY: rule 1.
    check(unsafe { ml_is_channels_last(tensor.as_ptr(), &raw mut out) })?;
    Ok(out != 0)
}

/// State of torch's random number generator on the device of `tensor`.
pub fn rng_state(tensor: &Tensor) -> Result<Tensor, BridgeError> {
    let mut out = ptr::null_mut();
    // SAFETY: rule 1, for the lent tensor and for the new one.
    check(unsafe { ml_rng_state(tensor.as_ptr(), &raw mut out) })?;
    // SAFETY: rule 1.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Restores a state of [`rng_state`].
pub fn set_rng_state(tensor: &Tensor, state: &Tensor) -> Result<(), BridgeError> {
    // SAFETY: rule 1.
    check(unsafe { ml_set_rng_state(tensor.as_ptr(), state.as_ptr()) })
}
