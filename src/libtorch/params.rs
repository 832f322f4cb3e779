//! Safe wrappers of the functions in `params.h`: optimizer steps for lists of tensors. The safety
//! rules are those of `bridge.rs`.
#![expect(unsafe_code, reason = "this file is the bridge to C++; see the rules of bridge.rs")]

use std::{ffi::c_int, ptr};

use tch::Tensor;
use torch_sys::C_tensor;

use super::{
    bridge::{BridgeError, check, lend},
    kernels::{Kernels, ParameterMemory},
};

/// One step of SGD.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SgdStep {
    /// Momentum.
    pub momentum: f64,
    /// Weight decay that is added to the gradient (L2).
    pub weight_decay: f64,
    /// Dampening: the fraction of the gradient that is not added to the momentum.
    pub dampening: f64,
    /// Decoupled decay: before the update, weights are multiplied by 1 - lr * shrink.
    pub shrink: f64,
    /// 1 for Nesterov momentum.
    pub nesterov: u8,
}

/// One step of LARS.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LarsStep {
    /// Momentum.
    pub momentum: f64,
    /// Weight decay that is added to the gradient.
    pub weight_decay: f64,
    /// Coefficient of the trust ratio.
    pub eta: f64,
    /// Epsilon in the denominator of the trust ratio.
    pub epsilon: f64,
    /// 0 for a trust ratio of 1.
    pub trusted: u8,
    /// 1 if the momentum accumulates steps (with learning rate) instead of directions.
    pub lr_inside: u8,
}

/// One step of `AdamW` or LAMB.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Beta of the first moment.
    pub beta1: f64,
    /// Beta of the second moment.
    pub beta2: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Epsilon in the denominator.
    pub epsilon: f64,
    /// LAMB only: 0 for a trust ratio of 1.
    pub trusted: u8,
}

/// One step of Muon.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MuonStep {
    /// Momentum.
    pub momentum: f64,
    /// Weight decay: weights are first multiplied by 1 - lr * decay.
    pub weight_decay: f64,
    /// Newton-Schulz iterations.
    pub ns_steps: u32,
    /// 1 for Nesterov momentum.
    pub nesterov: u8,
    /// 1 to scale the steps to the size of `AdamW`'s.
    pub match_rms_adamw: u8,
}

#[repr(C)]
struct MlParams([u8; 0]);

unsafe extern "C" {
    fn ml_params_new(
        params: *const *const C_tensor,
        n: usize,
        num_moments: c_int,
        out: *mut *mut MlParams,
    ) -> c_int;
    fn ml_params_free(params: *mut MlParams);
    fn ml_params_select(params: *mut MlParams, num: *mut usize) -> c_int;
    fn ml_params_drop_grads(params: *mut MlParams) -> c_int;
    fn ml_params_unscale_grads(
        params: *mut MlParams,
        inv_scale: *const C_tensor,
        found_inf: *const C_tensor,
    ) -> c_int;
    fn ml_params_grad_norm(params: *mut MlParams, out: *mut *mut C_tensor) -> c_int;
    fn ml_params_scale_grads(params: *mut MlParams, factor: *const C_tensor) -> c_int;
    fn ml_params_clamp_grads(params: *mut MlParams, most: f64) -> c_int;
    fn ml_params_ascend(params: *mut MlParams, factor: *const C_tensor) -> c_int;
    fn ml_params_state(params: *mut MlParams, i: usize, out: *mut *mut C_tensor) -> c_int;
    fn ml_params_full_state(params: *mut MlParams, i: usize, out: *mut *mut C_tensor) -> c_int;
    fn ml_params_set_state(params: *mut MlParams, state: *const *const C_tensor, n: usize)
    -> c_int;
    fn ml_params_memory(params: *mut MlParams, out: *mut ParameterMemory) -> c_int;
    fn ml_params_sgd(
        params: *mut MlParams,
        step: *const SgdStep,
        lr: *const C_tensor,
        found_inf: *const C_tensor,
    ) -> c_int;
    fn ml_params_lars(
        params: *mut MlParams,
        step: *const LarsStep,
        lr: *const C_tensor,
        found_inf: *const C_tensor,
    ) -> c_int;
    fn ml_params_adamw(
        params: *mut MlParams,
        step: *const AdamStep,
        lr: *const C_tensor,
        found_inf: *const C_tensor,
    ) -> c_int;
    fn ml_params_lamb(
        params: *mut MlParams,
        step: *const AdamStep,
        lr: *const C_tensor,
        found_inf: *const C_tensor,
    ) -> c_int;
    fn ml_params_muon(
        params: *mut MlParams,
        step: *const MuonStep,
        lr: *const C_tensor,
        found_inf: *const C_tensor,
    ) -> c_int;
}

/// The values that change from step to step. Both are on the device, so that a replayed CUDA graph
/// uses their current values.
#[derive(Clone, Copy)]
pub struct StepNow<'a> {
    /// Learning rate, `[]`; fp32 on a GPU.
    pub lr: &'a Tensor,
    /// `[1]`, fp32. If it is given and is 1, the step does nothing, and the host does not notice.
    pub found_inf: Option<&'a Tensor>,
    /// Fused kernels whose arithmetic has the parameters' kind. SGD and LARS then make one pass over
    /// the memory.
    pub kernels: Option<&'a Kernels>,
}

/// The running means of each gradient that an optimizer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moments {
    /// Momentum.
    One,
    /// First and second moment.
    Two,
}

/// Parameters that share an optimizer step, and their optimizer state.
///
/// Steps may overwrite the gradients.
pub struct Params {
    raw: *mut MlParams,
    /// Those that need gradients.
    num: usize,
}

impl Params {
    /// A group of parameters before its first step.
    pub fn new<'a>(
        params: impl IntoIterator<Item = &'a Tensor>,
        moments: Moments,
    ) -> Result<Self, BridgeError> {
        let (lent, mut out) = (lend(params), ptr::null_mut());
        let num_moments = match moments {
            Moments::One => 1,
            Moments::Two => 2,
        };
        // SAFETY: rules 1, 2 and 4.
        check(unsafe { ml_params_new(lent.as_ptr(), lent.len(), num_moments, &raw mut out) })?;
        Ok(Self { raw: out, num: lent.len() })
    }

    /// Restricts steps to the parameters that need gradients now. The state of the others stays as it is.
    pub fn select_trained(&mut self) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_params_select(self.raw, &raw mut self.num) })
    }

    /// Whether no parameter of the group is trained.
    pub fn is_empty(&self) -> bool {
        self.num == 0
    }

    /// SGD, for groups with [`Moments::One`].
    pub fn sgd(&mut self, step: &SgdStep, now: &StepNow) -> Result<(), BridgeError> {
        if let Some(kernels) = now.kernels
            && step.momentum != 0.0
            && step.dampening == 0.0
        {
            return kernels.sgd(&self.memory()?, step, now);
        }
        // SAFETY: rules 1, 2 and 4; null means "not given".
        check(unsafe {
            ml_params_sgd(self.raw, ptr::from_ref(step), now.lr.as_ptr(), or_null(now.found_inf))
        })
    }

    /// LARS, for groups with [`Moments::One`].
    pub fn lars(&mut self, step: &LarsStep, now: &StepNow) -> Result<(), BridgeError> {
        if let Some(kernels) = now.kernels
            && step.momentum != 0.0
        {
            return kernels.lars(&self.memory()?, step, now);
        }
        // SAFETY: as `sgd`.
        check(unsafe {
            ml_params_lars(self.raw, ptr::from_ref(step), now.lr.as_ptr(), or_null(now.found_inf))
        })
    }

    fn memory(&mut self) -> Result<Vec<ParameterMemory>, BridgeError> {
        let mut memory = vec![ParameterMemory::NONE; self.num];
        // SAFETY: rule 2; `memory` is as long as the list of parameters.
        check(unsafe { ml_params_memory(self.raw, memory.as_mut_ptr()) })?;
        Ok(memory)
    }

    /// `AdamW`, for groups with [`Moments::Two`].
    pub fn adamw(&mut self, step: &AdamStep, now: &StepNow) -> Result<(), BridgeError> {
        // SAFETY: as `sgd`.
        check(unsafe {
            ml_params_adamw(self.raw, ptr::from_ref(step), now.lr.as_ptr(), or_null(now.found_inf))
        })
    }

    /// LAMB, for groups with [`Moments::Two`].
    pub fn lamb(&mut self, step: &AdamStep, now: &StepNow) -> Result<(), BridgeError> {
        // SAFETY: as `sgd`.
        check(unsafe {
            ml_params_lamb(self.raw, ptr::from_ref(step), now.lr.as_ptr(), or_null(now.found_inf))
        })
    }

    /// Muon, for groups with [`Moments::One`] of tensors with at least two dimensions.
    pub fn muon(&mut self, step: &MuonStep, now: &StepNow) -> Result<(), BridgeError> {
        // SAFETY: as `sgd`.
        check(unsafe {
            ml_params_muon(self.raw, ptr::from_ref(step), now.lr.as_ptr(), or_null(now.found_inf))
        })
    }

    /// Clears the gradients (`set_to_none`), so that backward assigns new ones instead of
    /// accumulating.
    pub fn drop_grads(&mut self) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_params_drop_grads(self.raw) })
    }

    /// Divides gradients by the loss scale and sets `found_inf` (`[1]`, fp32) if one is not finite.
    pub fn unscale_grads(
        &mut self,
        inv_scale: &Tensor,
        found_inf: &Tensor,
    ) -> Result<(), BridgeError> {
        // SAFETY: rules 1 and 2.
        check(unsafe { ml_params_unscale_grads(self.raw, inv_scale.as_ptr(), found_inf.as_ptr()) })
    }

    /// Norm of all gradients of the group, `[]`, on their device.
    pub fn grad_norm(&mut self) -> Result<Tensor, BridgeError> {
        let mut out = ptr::null_mut();
        // SAFETY: rule 2.
        check(unsafe { ml_params_grad_norm(self.raw, &raw mut out) })?;
        // SAFETY: rule 1; we own `out`.
        Ok(unsafe { Tensor::from_ptr(out) })
    }

    /// Multiplies the gradients by `factor`, `[]`, on their device.
    pub fn scale_grads(&mut self, factor: &Tensor) -> Result<(), BridgeError> {
        // SAFETY: rules 1 and 2.
        check(unsafe { ml_params_scale_grads(self.raw, factor.as_ptr()) })
    }

    /// Clamps each element of the gradients to the range from `-most` to `most`.
    pub fn clamp_grads(&mut self, most: f64) -> Result<(), BridgeError> {
        // SAFETY: rule 2.
        check(unsafe { ml_params_clamp_grads(self.raw, most) })
    }

    /// Adds `factor` (`[]`, on their device) times the gradients to the weights and clears the
    /// gradients.
    pub fn ascend(&mut self, factor: &Tensor) -> Result<(), BridgeError> {
        // SAFETY: rules 1 and 2.
        check(unsafe { ml_params_ascend(self.raw, factor.as_ptr()) })?;
        self.drop_grads()
    }

    /// The state (shared, not copied): momenta, and with [`Moments::Two`] also second moments and
    /// the number of updates. Empty before the first step.
    pub fn state(&self) -> Result<Vec<Tensor>, BridgeError> {
        // SAFETY: rule 2.
        tensors(|i, out| unsafe { ml_params_state(self.raw, i, out) })
    }

    /// The same after any number of steps. Steps that a CUDA graph replays are not counted here, so
    /// [`Params::state`] may be empty after them.
    pub fn full_state(&self) -> Result<Vec<Tensor>, BridgeError> {
        // SAFETY: rule 2.
        tensors(|i, out| unsafe { ml_params_full_state(self.raw, i, out) })
    }

    /// Copies a state back. An empty one restores the state before the first step.
    pub fn set_state(&mut self, state: &[Tensor]) -> Result<(), BridgeError> {
        let lent = lend(state);
        // SAFETY: rules 1, 2 and 4.
        check(unsafe { ml_params_set_state(self.raw, lent.as_ptr(), lent.len()) })
    }
}

/// The tensors that `get` gives by number, up to null.
fn tensors(get: impl Fn(usize, *mut *mut C_tensor) -> c_int) -> Result<Vec<Tensor>, BridgeError> {
    let mut all = Vec::new();
    loop {
        let mut out = ptr::null_mut();
        check(get(all.len(), &raw mut out))?;
        if out.is_null() {
            return Ok(all);
        }
        // SAFETY: rule 1; we own a non-null `out`.
        all.push(unsafe { Tensor::from_ptr(out) });
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        // SAFETY: rule 2.
        unsafe { ml_params_free(self.raw) }
    }
}

fn or_null(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(ptr::null(), Tensor::as_ptr)
}
