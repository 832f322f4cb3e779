//! Safe wrapper of `lists.cc`. The safety rules are those of `bridge.rs`.
#![expect(unsafe_code, reason = "this file is the bridge to C++; see the rules of bridge.rs")]

use std::{ffi::c_int, ptr};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use super::bridge::{BridgeError, check, lend};

#[repr(C)]
struct MlList([u8; 0]);

unsafe extern "C" {
    fn ml_list_new(tensors: *const *const C_tensor, n: usize, out: *mut *mut MlList) -> c_int;
    fn ml_list_free(list: *mut MlList);
    fn ml_list_duplicate(list: *const MlList, out: *mut *mut MlList) -> c_int;
    fn ml_list_share(list: *const MlList, out: *mut *mut MlList) -> c_int;
    fn ml_list_get(list: *const MlList, i: usize) -> *mut C_tensor;
    fn ml_list_copy(into: *mut MlList, from: *const MlList) -> c_int;
    fn ml_list_lerp(list: *mut MlList, towards: *const MlList, fraction: f64) -> c_int;
    fn ml_cast(
        tensors: *const *const C_tensor,
        n: usize,
        kind: c_int,
        out: *mut *mut C_tensor,
    ) -> c_int;
}

/// Tensors that are processed together, with one fused call for all. Detached from autograd.
pub struct TensorList(*mut MlList);

impl TensorList {
    /// A list of these tensors, which shares their memory.
    pub fn new<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Self, BridgeError> {
        let (lent, mut out) = (lend(tensors), ptr::null_mut());
        // SAFETY: rules 1, 2 and 4.
        check(unsafe { ml_list_new(lent.as_ptr(), lent.len(), &raw mut out) })?;
        Ok(Self(out))
    }

    /// Another list of the same tensors.
    pub fn shared(&self) -> Result<Self, BridgeError> {
        let mut out = ptr::null_mut();
        // SAFETY: rule 2.
        check(unsafe { ml_list_share(self.0, &raw mut out) })?;
        Ok(Self(out))
    }

    /// Copies of the tensors.
    pub fn duplicate(&self) -> Result<Self, BridgeError> {
        let mut out = ptr::null_mut();
        // SAFETY: rule 2.
        check(unsafe { ml_list_duplicate(self.0, &raw mut out) })?;
        Ok(Self(out))
    }

    /// The tensors; they share the list's memory.
    pub fn tensors(&self) -> Vec<Tensor> {
        // SAFETY: rules 1 and 2; null is past the end.
        let get = |i| Some(unsafe { ml_list_get(self.0, i) }).filter(|tensor| !tensor.is_null());
        // SAFETY: rule 1; we own it.
        (0..).map_while(get).map(|tensor| unsafe { Tensor::from_ptr(tensor) }).collect()
    }

    /// Copies the values of `from`, tensor by tensor.
    pub fn copy_from(&self, from: &Self) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_list_copy(self.0, from.0) })
    }

    /// `x + fraction (towards - x)`, tensor by tensor.
    pub fn lerp(&self, towards: &Self, fraction: f64) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_list_lerp(self.0, towards.0, fraction) })
    }
}

impl Drop for TensorList {
    fn drop(&mut self) {
        // SAFETY: rule 2.
        unsafe { ml_list_free(self.0) }
    }
}

/// Copies of the tensors in `kind`, with the same memory layout, made by one fused call. The tensors
/// themselves where they have that kind already. All of them must have one kind.
pub fn cast(tensors: &[&Tensor], kind: Kind) -> Result<Vec<Tensor>, BridgeError> {
    if tensors.iter().all(|tensor| tensor.kind() == kind) {
        return Ok(tensors.iter().map(|tensor| tensor.detach()).collect());
    }
    // Numbers of at::ScalarType.
    let number = match kind {
        Kind::Half => 5,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::BFloat16 => 15,
        other => return Err(BridgeError::new(&format!("no tensor is cast to {other:?}"))),
    };
    let (lent, mut out) = (lend(tensors.iter().copied()), vec![ptr::null_mut(); tensors.len()]);
    // SAFETY: rules 1 and 4; `out` takes all of them.
    check(unsafe { ml_cast(lent.as_ptr(), lent.len(), number, out.as_mut_ptr()) })?;
    // SAFETY: rule 1; we own them.
    Ok(out.into_iter().map(|tensor| unsafe { Tensor::from_ptr(tensor) }).collect())
}
