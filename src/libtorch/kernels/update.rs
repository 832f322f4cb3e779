//! The update of SGD and LARS for many tensors in one launch.

use std::ffi::c_void;

use tch::Tensor;

use super::{Kernels, launch::Argument};
use crate::libtorch::{
    bridge::BridgeError,
    params::{LarsStep, SgdStep, StepNow},
};

/// Tensors of a launch, limited by the 4 KB of its arguments.
const MAX_TENSORS: usize = 110;
/// Numbers that a block updates.
const CHUNK: u32 = 8192;

/// Memory of a parameter, its gradient and its momentum, which have the same layout and the kind of
/// the arithmetic.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(in crate::libtorch) struct ParameterMemory {
    pub weight: *mut c_void,
    pub gradient: *const c_void,
    pub momentum: *mut c_void,
    pub num: u64,
}

impl ParameterMemory {
    pub(in crate::libtorch) const NONE: Self = Self {
        weight: std::ptr::null_mut(),
        gradient: std::ptr::null(),
        momentum: std::ptr::null_mut(),
        num: 0,
    };
}

/// `struct Tensors` of the kernels' text.
#[repr(C)]
struct Tensors {
    weight: [*mut c_void; MAX_TENSORS],
    gradient: [*const c_void; MAX_TENSORS],
    momentum: [*mut c_void; MAX_TENSORS],
    end: [u32; MAX_TENSORS],
    size: [u32; MAX_TENSORS],
    count: u32,
}

/// Constants of `update_weights`.
struct Rule {
    momentum: f64,
    decay: f64,
    shrink: f64,
    is_nesterov: bool,
    is_lr_inside: bool,
}

impl Tensors {
    fn new(parameters: &[ParameterMemory]) -> Self {
        let mut tensors = Self {
            weight: [std::ptr::null_mut(); MAX_TENSORS],
            gradient: [std::ptr::null(); MAX_TENSORS],
            momentum: [std::ptr::null_mut(); MAX_TENSORS],
            end: [0; MAX_TENSORS],
            size: [0; MAX_TENSORS],
            count: parameters.len() as u32,
        };
        let mut end = 0;
        for (i, parameter) in parameters.iter().enumerate() {
            end += (parameter.num as u32).div_ceil(CHUNK);
            tensors.weight[i] = parameter.weight;
            tensors.gradient[i] = parameter.gradient;
            tensors.momentum[i] = parameter.momentum;
            tensors.size[i] = parameter.num as u32;
            tensors.end[i] = end;
        }
        tensors
    }

    fn num_chunks(&self) -> u32 {
        self.end[self.count as usize - 1]
    }
}

impl Kernels {
    /// SGD with momentum and without dampening.
    pub(in crate::libtorch) fn sgd(
        &self,
        parameters: &[ParameterMemory],
        step: &SgdStep,
        now: &StepNow,
    ) -> Result<(), BridgeError> {
        let rule = Rule {
            momentum: step.momentum,
            decay: step.weight_decay,
            shrink: step.shrink,
            is_nesterov: step.nesterov != 0,
            is_lr_inside: false,
        };
        parameters
            .chunks(MAX_TENSORS)
            .try_for_each(|some| self.update(&Tensors::new(some), None, &rule, now))
    }

    /// LARS.
    pub(in crate::libtorch) fn lars(
        &self,
        parameters: &[ParameterMemory],
        step: &LarsStep,
        now: &StepNow,
    ) -> Result<(), BridgeError> {
        let rule = Rule {
            momentum: step.momentum,
            decay: step.weight_decay,
            shrink: 0.0,
            is_nesterov: false,
            is_lr_inside: step.lr_inside != 0,
        };
        parameters.chunks(MAX_TENSORS).try_for_each(|some| {
            let tensors = Tensors::new(some);
            let trust =
                (step.trusted != 0).then(|| self.trust_ratios(&tensors, step)).transpose()?;
            self.update(&tensors, trust.as_ref(), &rule, now)
        })
    }

    /// `[count]`.
    fn trust_ratios(&self, tensors: &Tensors, step: &LarsStep) -> Result<Tensor, BridgeError> {
        let sums = self.numbers(&[i64::from(tensors.num_chunks()), 2]);
        let trust = self.numbers(&[i64::from(tensors.count)]);
        self.launch_on(c"square_sums", [tensors.num_chunks(), 1], tensors, &[(&sums).into()])?;
        let constants = [step.eta, step.weight_decay, step.epsilon].map(Into::into);
        let arguments = [[(&sums).into(), (&trust).into()].as_slice(), &constants].concat();
        self.launch_on(c"trust_ratios", [tensors.count, 1], tensors, &arguments)?;
        Ok(trust)
    }

    fn update(
        &self,
        tensors: &Tensors,
        trust: Option<&Tensor>,
        rule: &Rule,
        now: &StepNow,
    ) -> Result<(), BridgeError> {
        // On a GPU it has this kind already.
        let lr = now.lr.to_kind(self.storage.arithmetic());
        self.launch_on(
            c"update_weights",
            [tensors.num_chunks(), 1],
            tensors,
            &[
                trust.map_or(Argument::NULL, Into::into),
                (&lr).into(),
                now.found_inf.map_or(Argument::NULL, Into::into),
                rule.momentum.into(),
                rule.decay.into(),
                rule.shrink.into(),
                i64::from(rule.is_nesterov).into(),
                i64::from(rule.is_lr_inside).into(),
            ],
        )
    }
}
