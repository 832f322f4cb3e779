//! Kernels against libtorch in fp64, computed from the same stored numbers. They are emulated, or run
//! on GPU 0 if `MLPERF_RUN_TEST_GPU` is set (`scripts/gpu/check`).

mod compile;
mod faults;
mod operations;
mod refused;
mod update;

use tch::{Kind, Tensor};

use super::*;
use crate::libtorch::{load_cuda, noise, use_gpu};

/// Odd sizes, sizes of 1, channels that divide no block, and more channels than one group has.
const SHAPES: [[i64; 4]; 8] = [
    [3, 8, 5, 7],
    [1, 24, 12, 2],
    [2, 64, 7, 7],
    [3, 72, 1, 5],
    [2, 264, 2, 3],
    [1, 8, 37, 1],
    [2, 16, 23, 30],
    [3, 264, 19, 18],
];

/// Formats, and the relative errors that their rounding explains.
const FORMATS: [(Storage, f64); 4] =
    [(Storage::Fp64, 1e-12), (Storage::Fp32, 1e-6), (Storage::Fp16, 5e-4), (Storage::Bf16, 4e-3)];

/// Sizes of `ResNet-50`, which only a GPU computes in good time.
const GPU_SHAPES: [[i64; 4]; 3] = [[16, 64, 56, 56], [8, 512, 28, 28], [32, 2048, 7, 7]];

static LOADED: std::sync::Once = std::sync::Once::new();

/// The kernels under test, and the shapes to test them on.
fn kernels_and_shapes(storage: Storage) -> (Kernels, Vec<[i64; 4]>) {
    if std::env::var_os("MLPERF_RUN_TEST_GPU").is_none() {
        return (Kernels::emulated(storage), SHAPES.to_vec());
    }
    LOADED.call_once(|| load_cuda().expect("libtorch with CUDA"));
    use_gpu(0, 600).expect("GPU 0");
    let folder = tempfile::tempdir().expect("a folder");
    let kernels = Kernels::cuda(0, storage, folder.path()).expect("kernels for GPU 0");
    (kernels, [&SHAPES[..], &GPU_SHAPES].concat())
}

/// `|actual - expected| / |expected|`; infinite if anything is not a number.
fn relative_error(actual: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(actual.size(), expected.size());
    let norm = |t: &Tensor| t.norm().double_value(&[]);
    let error = norm(&(actual.to_kind(Kind::Double) - expected)) / norm(expected).max(1e-30);
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Random activations in the storage's format, channels last.
fn activations(kernels: &Kernels, sizes: [i64; 4]) -> Tensor {
    let [n, c, h, w] = sizes;
    let rows = noise::normal(&[n, h, w, c]) + 0.3;
    let rows = rows.to_device(kernels.device).to_kind(kernels.storage().kind());
    rows.permute([0, 3, 1, 2])
}

/// The stored numbers in fp64, as a leaf of autograd.
fn leaf(stored: &Tensor) -> Tensor {
    stored.to_kind(Kind::Double).detach().copy().set_requires_grad(true)
}

/// A batch norm with random parameters.
struct Parameters {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl Parameters {
    fn new(kernels: &Kernels, channels: i64) -> Self {
        let draw = || noise::uniform(&[channels]);
        let stored =
            |t: Tensor| t.to_device(kernels.device).to_kind(kernels.storage().arithmetic());
        Self {
            weight: stored(draw() + 0.5),
            bias: stored(draw() - 0.5),
            running_mean: stored(draw()),
            running_var: stored(draw() + 0.5),
        }
    }

    fn norm(&self) -> Norm<'_> {
        let Self { weight, bias, running_mean, running_var } = self;
        Norm { weight, bias, running_mean, running_var, momentum: 0.1, eps: 1e-5 }
    }

    /// The batch norm in fp64, with parameters that are leaves of autograd.
    fn reference(&self) -> Reference {
        let double = |t: &Tensor| t.to_kind(Kind::Double).detach().copy();
        Reference {
            weight: leaf(&self.weight),
            bias: leaf(&self.bias),
            running_mean: double(&self.running_mean),
            running_var: double(&self.running_var),
        }
    }
}

/// The statistics that a batch norm uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Statistics {
    Batch,
    Running,
}

struct Reference {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl Reference {
    fn train(&self, x: &Tensor) -> Tensor {
        self.forward(x, Statistics::Batch)
    }

    fn evaluate(&self, x: &Tensor) -> Tensor {
        self.forward(x, Statistics::Running)
    }

    fn forward(&self, x: &Tensor, statistics: Statistics) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            statistics == Statistics::Batch,
            0.1,
            1e-5,
            false,
        )
    }
}
