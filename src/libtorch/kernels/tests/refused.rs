//! Tensors that the kernels do not support.

use super::*;

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let kernels = Kernels::emulated(Storage::Fp32);
    let good = activations(&kernels, [2, 8, 4, 4]);
    let refused = |x: &Tensor, part: &str| {
        let error = kernels.blur(x).expect_err("it does not fit").to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&good.contiguous(), "channels last");
    refused(&activations(&kernels, [2, 12, 4, 4]), "multiple of 8");
    refused(&good.to_kind(Kind::Double), "Fp32");
    refused(&good.reshape([-1]), "[N, C, H, W]");

    let parameters = Parameters::new(&kernels, 8);
    let one_value = activations(&kernels, [1, 8, 1, 1]);
    let error = kernels.batch_statistics(&one_value, &parameters.norm()).expect_err("one value");
    assert!(error.to_string().contains("more than one value"), "{error}");

    let statistics = kernels.batch_statistics(&good, &parameters.norm()).unwrap();
    let other = activations(&kernels, [2, 8, 4, 5]);
    let error = kernels.bn_add_relu(&good, &statistics, &other).expect_err("another width");
    assert!(error.to_string().contains("[2, 8, 4, 5]"), "{error}");
}
