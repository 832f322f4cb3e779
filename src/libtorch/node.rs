//! Safe wrapper of `node.cc`. The safety rules are those of `bridge.rs`.
#![expect(unsafe_code, reason = "this file is the bridge to C++; see the rules of bridge.rs")]

use std::{
    ffi::{c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};

use tch::{Tensor, no_grad};
use torch_sys::C_tensor;

use super::bridge::{BridgeError, check, lend};

#[repr(C)]
struct RawBackward {
    run: unsafe extern "C" fn(
        *mut c_void,
        *const *const C_tensor,
        usize,
        *mut *mut C_tensor,
        usize,
    ) -> c_int,
    drop: unsafe extern "C" fn(*mut c_void),
    state: *mut c_void,
}

#[repr(C)]
struct RawConvBackward {
    gradient: *const C_tensor,
    input: *const C_tensor,
    weight: *const C_tensor,
    stride: i64,
    padding: i64,
    with_input: u8,
}

unsafe extern "C" {
    fn ml_node_attach(
        outputs: *const *const C_tensor,
        num_outputs: usize,
        inputs: *const *const C_tensor,
        num_inputs: usize,
        backward: RawBackward,
    ) -> c_int;
    fn ml_conv_backward(
        conv: *const RawConvBackward,
        input_gradient: *mut *mut C_tensor,
        weight_gradient: *mut *mut C_tensor,
    ) -> c_int;
}

/// The gradients of a node's outputs; `None` where nothing depends on an output.
type Gradients = Vec<Option<Tensor>>;
type Closure = Box<dyn FnOnce(Gradients) -> Gradients + Send>;

/// Makes `outputs` depend on `inputs` by one node of the autograd graph.
///
/// `backward` takes the gradients of the outputs and returns those of the inputs, in their order. It
/// runs at most once, without autograd, on a thread of libtorch's. What it owns is freed as soon as
/// it ends. The outputs must be new tensors without a history. Does nothing where gradients are off or no
/// input needs one.
pub fn attach_node(
    outputs: &[&Tensor],
    inputs: &[&Tensor],
    backward: impl FnOnce(Gradients) -> Gradients + Send + 'static,
) -> Result<(), BridgeError> {
    let closure: Closure = Box::new(backward);
    // A trait object's pointer is two words wide, so that it is boxed once more.
    let state = Box::into_raw(Box::new(closure)).cast::<c_void>();
    let raw = RawBackward { run: run_closure, drop: drop_closure, state };
    let (outputs, inputs) = (lend(outputs.iter().copied()), lend(inputs.iter().copied()));
    // SAFETY: rules 1, 3 and 4; C++ owns `state` and gives it to exactly one of the two functions.
    check(unsafe {
        ml_node_attach(outputs.as_ptr(), outputs.len(), inputs.as_ptr(), inputs.len(), raw)
    })
}

/// Runs a closure of [`attach_node`]. Returns 1 if it panicked or returned too few gradients.
unsafe extern "C" fn run_closure(
    state: *mut c_void,
    gradients: *const *const C_tensor,
    n: usize,
    out: *mut *mut C_tensor,
    num_out: usize,
) -> c_int {
    // SAFETY: `state` is the box of `attach_node`, and C++ gives it away only once.
    let closure = *unsafe { Box::from_raw(state.cast::<Closure>()) };
    // SAFETY: both arrays have these lengths and are not used elsewhere during the call.
    let (gradients, out) =
        unsafe { (slice::from_raw_parts(gradients, n), slice::from_raw_parts_mut(out, num_out)) };
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let gradients = gradients.iter().map(|&gradient| share(gradient)).collect();
        let results = no_grad(|| closure(gradients));
        assert_eq!(results.len(), out.len(), "one gradient for each input of the node");
        for (slot, result) in out.iter_mut().zip(results) {
            *slot = result.map_or(ptr::null_mut(), into_raw);
        }
    }));
    c_int::from(ran.is_err())
}

unsafe extern "C" fn drop_closure(state: *mut c_void) {
    // SAFETY: `state` is the box of `attach_node`, and C++ gives it away only once.
    let closure = unsafe { Box::from_raw(state.cast::<Closure>()) };
    // A panic must not cross the boundary; there is nothing left to be undone.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(closure)));
}

/// Another handle of a lent tensor.
fn share(tensor: *const C_tensor) -> Option<Tensor> {
    // SAFETY: rule 1; the lent tensor outlives the call.
    (!tensor.is_null()).then(|| unsafe { Tensor::clone_from_ptr(tensor.cast_mut()) })
}

/// Gives a tensor away, to C++.
fn into_raw(tensor: Tensor) -> *mut C_tensor {
    let raw = tensor.as_ptr().cast_mut();
    std::mem::forget(tensor);
    raw
}

/// A convolution whose gradients are wanted: `stride` and `padding` are those of both directions.
#[derive(Clone, Copy, Debug)]
pub struct ConvBackward<'a> {
    /// Gradient of the output, `[N, C', H', W']`.
    pub gradient: &'a Tensor,
    /// Input, `[N, C, H, W]`.
    pub input: &'a Tensor,
    /// Weight, `[C', C, k, k]`.
    pub weight: &'a Tensor,
    /// Stride.
    pub stride: i64,
    /// Zero padding.
    pub padding: i64,
}

impl ConvBackward<'_> {
    /// Gradients of input and weight.
    pub fn both(self) -> Result<(Tensor, Tensor), BridgeError> {
        let (input, weight) = self.run(1)?;
        // SAFETY: rule 1; C++ made this tensor, because it was asked to.
        Ok((unsafe { Tensor::from_ptr(input) }, weight))
    }

    /// Gradient of the weight alone.
    pub fn weight(self) -> Result<Tensor, BridgeError> {
        Ok(self.run(0)?.1)
    }

    fn run(self, with_input: u8) -> Result<(*mut C_tensor, Tensor), BridgeError> {
        let raw = RawConvBackward {
            gradient: self.gradient.as_ptr(),
            input: self.input.as_ptr(),
            weight: self.weight.as_ptr(),
            stride: self.stride,
            padding: self.padding,
            with_input,
        };
        let (mut input, mut weight) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: rules 1 and 4.
        check(unsafe { ml_conv_backward(&raw const raw, &raw mut input, &raw mut weight) })?;
        // SAFETY: rule 1, for a new tensor.
        Ok((input, unsafe { Tensor::from_ptr(weight) }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tch::Kind;

    use super::*;
    use crate::libtorch::noise;

    #[test]
    fn where_gradients_are_off_a_node_keeps_nothing() {
        let x = noise::normal(&[2]).set_requires_grad(true);
        let saved = Arc::new(());
        let (y, kept) = (no_grad(|| &x * 2.0), Arc::clone(&saved));
        no_grad(|| {
            attach_node(&[&y], &[&x], move |gradients| {
                drop(kept);
                gradients
            })
        })
        .expect("nothing to attach");
        assert!(!y.requires_grad());
        assert_eq!(Arc::strong_count(&saved), 1, "the closure is gone");
    }

    #[test]
    fn a_node_of_frozen_inputs_keeps_nothing() {
        let x = noise::normal(&[2]);
        let (y, saved) = (&x * 2.0, Arc::new(()));
        let kept = Arc::clone(&saved);
        attach_node(&[&y], &[&x], move |gradients| {
            drop(kept);
            gradients
        })
        .expect("nothing to attach");
        assert!(!y.requires_grad());
        assert_eq!(Arc::strong_count(&saved), 1, "the closure is gone");
    }

    #[test]
    fn a_node_computes_the_gradients_of_its_closure() {
        let x = noise::normal(&[2, 3]).set_requires_grad(true);
        let w = noise::normal(&[2, 3]).set_requires_grad(true);
        let (y, z) = no_grad(|| (&x * &w, x.square()));
        let (saved_x, saved_w) = (x.detach(), w.detach());
        attach_node(&[&y, &z], &[&x, &w], move |gradients| {
            let [dy, dz] = [0, 1].map(|i| gradients[i].as_ref().expect("a gradient"));
            vec![Some(dy * &saved_w + dz * &saved_x * 2.0), Some(dy * &saved_x)]
        })
        .expect("a node");
        (y.sin() + z).sum(Kind::Double).backward();
        let (dx, dw) = (x.grad(), w.grad());

        let (x, w) = (x.detach().set_requires_grad(true), w.detach().set_requires_grad(true));
        ((&x * &w).sin() + x.square()).sum(Kind::Double).backward();
        assert!(dx.allclose(&x.grad(), 1e-14, 1e-14, false));
        assert!(dw.allclose(&w.grad(), 1e-14, 1e-14, false));
    }

    #[test]
    fn an_unused_output_has_no_gradient() {
        let x = noise::normal(&[3]).set_requires_grad(true);
        let (y, z) = no_grad(|| (&x * 2.0, &x * 3.0));
        attach_node(&[&y, &z], &[&x], |gradients| {
            assert!(gradients[1].is_none());
            vec![gradients[0].as_ref().map(|dy| dy * 2.0)]
        })
        .expect("a node");
        y.sum(Kind::Double).backward();
        assert_eq!(Vec::<f64>::try_from(x.grad()).expect("numbers"), [2.0; 3]);
    }

    #[test]
    fn a_panic_in_the_closure_is_an_error_of_the_backward_pass() {
        let x = noise::normal(&[3]).set_requires_grad(true);
        let y = no_grad(|| &x * 2.0);
        attach_node(&[&y], &[&x], |_| panic!("on purpose")).expect("a node");
        let error = y.sum(Kind::Double).f_backward().expect_err("the panic");
        assert!(error.to_string().contains("panicked"), "{error}");
    }

    #[test]
    fn the_closure_is_freed_with_the_graph_if_it_never_runs() {
        let (alive, watched) = std::sync::mpsc::channel::<()>();
        let x = noise::normal(&[3]).set_requires_grad(true);
        let y = no_grad(|| &x * 2.0);
        attach_node(&[&y], &[&x], move |_| {
            drop(alive);
            vec![None]
        })
        .expect("a node");
        drop(y);
        assert!(
            watched.try_recv().is_err_and(|e| e == std::sync::mpsc::TryRecvError::Disconnected)
        );
    }

    #[test]
    fn convolution_gradients_equal_autograd() {
        let x = noise::normal(&[2, 3, 7, 5]).set_requires_grad(true);
        let w = noise::normal(&[4, 3, 3, 3]).set_requires_grad(true);
        let y = x.conv2d(&w, None::<&Tensor>, [2, 2], [1, 1], [1, 1], 1);
        let dy = noise::normal(&y.size());
        (&y * &dy).sum(Kind::Double).backward();
        let (input, weight) = (x.detach(), w.detach());
        let conv =
            ConvBackward { gradient: &dy, input: &input, weight: &weight, stride: 2, padding: 1 };
        let (dx, dw) = conv.both().expect("gradients");
        assert!(dx.allclose(&x.grad(), 1e-12, 1e-12, false));
        assert!(dw.allclose(&w.grad(), 1e-12, 1e-12, false));
        assert!(conv.weight().expect("a gradient").allclose(&dw, 0.0, 0.0, false));
    }
}
