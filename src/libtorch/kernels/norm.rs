//! Batch norm with `ReLU` and residual sums.

use tch::Tensor;

use super::{Kernels, launch::Argument};
use crate::libtorch::bridge::BridgeError;

/// A batch norm over C channels. The tensors `[C]` have the arithmetic's kind.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Factor behind the normalization.
    pub weight: &'a Tensor,
    /// Addend behind the normalization.
    pub bias: &'a Tensor,
    /// Mean for evaluation.
    pub running_mean: &'a Tensor,
    /// Unbiased variance for evaluation.
    pub running_var: &'a Tensor,
    /// Weight of the new batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub eps: f64,
}

/// The gradient of a block's output `[N, C, H, W]`, in the form that the next layers leave it in.
#[derive(Clone, Copy, Debug)]
pub enum Incoming<'a> {
    /// The gradient.
    One(&'a Tensor),
    /// The sum of both.
    Sum(&'a Tensor, &'a Tensor),
    /// The first plus the gradient of [`Kernels::blur_halve`] of the second, `[N, C, H / 2, W / 2]`.
    Blurred(&'a Tensor, &'a Tensor),
    /// The gradient `[N, C, 1, 1]` of [`Kernels::mean`].
    Mean(&'a Tensor),
}

/// The gradients of a batch norm.
#[derive(Debug)]
pub struct NormGradient {
    /// Of its input, `[N, C, H, W]`.
    pub x: Tensor,
    /// Of its weight, `[C]`.
    pub weight: Tensor,
    /// Of its bias, `[C]`.
    pub bias: Tensor,
}

/// The gradients of a batch norm's parameters, and what the second pass needs to compute its input's.
pub(super) struct Reduced {
    weight: Tensor, // [C]
    bias: Tensor,   // [C]
    /// `[3, C]`: a, b and c of `dx = a g + b x + c`.
    pub terms: Tensor,
}

impl Reduced {
    pub(super) fn arguments(&self) -> [Argument; 3] {
        [(&self.weight).into(), (&self.bias).into(), (&self.terms).into()]
    }

    pub(super) fn with_input(self, x: Tensor) -> NormGradient {
        NormGradient { x, weight: self.weight, bias: self.bias }
    }
}

impl Kernels {
    /// Scale, shift, mean and 1 / standard deviation `[4, C]` of the batch `x` `[N, C, H, W]`. Updates
    /// the running statistics as libtorch does. N H W must be 2 or more.
    pub fn batch_statistics(&self, x: &Tensor, norm: &Norm<'_>) -> Result<Tensor, BridgeError> {
        let [n, c, h, w] = self.sizes(x)?;
        let rows = n * h * w;
        if rows < 2 {
            return Err(BridgeError::new(
                "batch norm needs more than one value per channel; raise train.batch_size",
            ));
        }
        let (grid, partial) = self.reduction(rows, c, 2);
        let statistics = self.numbers(&[4, c]);
        self.launch(
            c"batch_statistics",
            grid,
            &[
                x.into(),
                rows.into(),
                c.into(),
                (&partial).into(),
                (&self.counters).into(),
                norm.weight.into(),
                norm.bias.into(),
                norm.running_mean.into(),
                norm.running_var.into(),
                (&statistics).into(),
                norm.momentum.into(),
                norm.eps.into(),
            ],
        )?;
        Ok(statistics)
    }

    /// The same numbers `[4, C]` of the running statistics, for evaluation.
    pub fn running_statistics(&self, norm: &Norm<'_>) -> Result<Tensor, BridgeError> {
        let c = norm.weight.size()[0];
        let statistics = self.numbers(&[4, c]);
        self.launch(
            c"running_statistics",
            [self.blocks(c, 256), 1],
            &[
                norm.weight.into(),
                norm.bias.into(),
                norm.running_mean.into(),
                norm.running_var.into(),
                (&statistics).into(),
                c.into(),
                norm.eps.into(),
            ],
        )?;
        Ok(statistics)
    }

    /// `relu(bn(x))`, `[N, C, H, W]`.
    pub fn bn_relu(&self, x: &Tensor, statistics: &Tensor) -> Result<Tensor, BridgeError> {
        let sizes = self.sizes(x)?;
        let y = self.activations(sizes);
        let [vectors, grid] = self.vectors(sizes);
        self.launch(
            c"bn_relu",
            [grid as u32, 1],
            &[x.into(), statistics.into(), (&y).into(), vectors.into(), sizes[1].into()],
        )?;
        Ok(y)
    }

    /// `relu(bn(x) + residual)`, and the mask of `ReLU`.
    pub fn bn_add_relu(
        &self,
        x: &Tensor,
        statistics: &Tensor,
        residual: &Tensor,
    ) -> Result<(Tensor, Tensor), BridgeError> {
        self.block_output(
            c"bn_add_relu",
            x,
            &[x.into(), statistics.into(), residual.into()],
            residual,
        )
    }

    /// `relu(bn(x) + bn(other))`, and the mask of `ReLU`.
    pub fn bn_bn_relu(
        &self,
        x: &Tensor,
        statistics: &Tensor,
        other: &Tensor,
        other_statistics: &Tensor,
    ) -> Result<(Tensor, Tensor), BridgeError> {
        let inputs = [x.into(), statistics.into(), other.into(), other_statistics.into()];
        self.block_output(c"bn_bn_relu", x, &inputs, other)
    }

    fn block_output(
        &self,
        kernel: &std::ffi::CStr,
        x: &Tensor,
        inputs: &[Argument],
        residual: &Tensor,
    ) -> Result<(Tensor, Tensor), BridgeError> {
        let sizes = self.sizes(x)?;
        self.same_sizes(sizes, residual)?;
        let y = self.activations(sizes);
        let [vectors, grid] = self.vectors(sizes);
        let mask = self.bytes(&[vectors]);
        let rest = [(&y).into(), (&mask).into(), vectors.into(), sizes[1].into()];
        self.launch(kernel, [grid as u32, 1], &[inputs, &rest].concat())?;
        Ok((y, mask))
    }

    /// Backward of [`Kernels::bn_relu`].
    pub fn bn_relu_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        statistics: &Tensor,
    ) -> Result<NormGradient, BridgeError> {
        let sizes = self.sizes(x)?;
        self.same_sizes(sizes, dy)?;
        let [n, c, h, w] = sizes;
        let (grid, partial) = self.reduction(n * h * w, c, 2);
        let reduced = self.reduced(c);
        let [weight, bias, terms] = reduced.arguments();
        self.launch(
            c"reduce_relu",
            grid,
            &[
                dy.into(),
                x.into(),
                statistics.into(),
                (n * h * w).into(),
                c.into(),
                (&partial).into(),
                (&self.counters).into(),
                weight,
                bias,
                terms,
            ],
        )?;
        let dx = self.activations(sizes);
        let [vectors, grid] = self.vectors(sizes);
        self.launch(
            c"apply_relu",
            [grid as u32, 1],
            &[
                dy.into(),
                x.into(),
                terms,
                statistics.into(),
                (&dx).into(),
                vectors.into(),
                c.into(),
            ],
        )?;
        Ok(reduced.with_input(dx))
    }

    /// Backward of [`Kernels::bn_add_relu`]. Also returns the gradient of the residual.
    pub fn bn_add_relu_backward(
        &self,
        dy: &Incoming<'_>,
        mask: &Tensor,
        x: &Tensor,
        statistics: &Tensor,
    ) -> Result<(NormGradient, Tensor), BridgeError> {
        let kernel = match dy {
            Incoming::One(_) => c"reduce_add_one",
            Incoming::Sum(..) => c"reduce_add_sum",
            Incoming::Blurred(..) => c"reduce_add_blurred",
            Incoming::Mean(_) => c"reduce_add_mean",
        };
        let [n, c, h, w] = self.sizes(x)?;
        let [first, second] = self.incoming(dy, [n, c, h, w])?;
        let (grid, partial) = self.reduction(n * h * w, c, 2);
        let masked = self.activations([n, c, h, w]);
        let reduced = self.reduced(c);
        let inputs = [first, second, mask.into(), x.into(), statistics.into(), (&masked).into()];
        let sums = [(&partial).into(), (&self.counters).into()];
        let arguments = [&inputs[..], &shape([n, c, h, w]), &sums, &reduced.arguments()].concat();
        self.launch(kernel, grid, &arguments)?;
        let dx = self.apply_masked(&masked, x, &reduced)?;
        Ok((reduced.with_input(dx), masked))
    }

    /// Backward of [`Kernels::bn_bn_relu`]: of the first batch norm, then of the other.
    pub fn bn_bn_relu_backward(
        &self,
        dy: &Incoming<'_>,
        mask: &Tensor,
        x: &Tensor,
        statistics: &Tensor,
        other: &Tensor,
        other_statistics: &Tensor,
    ) -> Result<(NormGradient, NormGradient), BridgeError> {
        let kernel = match dy {
            Incoming::One(_) => c"reduce_pair_one",
            Incoming::Sum(..) => c"reduce_pair_sum",
            Incoming::Blurred(..) => c"reduce_pair_blurred",
            Incoming::Mean(_) => c"reduce_pair_mean",
        };
        let [n, c, h, w] = self.sizes(x)?;
        let [first, second] = self.incoming(dy, [n, c, h, w])?;
        let (grid, partial) = self.reduction(n * h * w, c, 3);
        let masked = self.activations([n, c, h, w]);
        let (reduced, other_reduced) = (self.reduced(c), self.reduced(c));
        let inputs = [
            first,
            second,
            mask.into(),
            x.into(),
            statistics.into(),
            other.into(),
            other_statistics.into(),
            (&masked).into(),
        ];
        let sums = [(&partial).into(), (&self.counters).into()];
        let results = [reduced.arguments(), other_reduced.arguments()].concat();
        let arguments = [&inputs[..], &shape([n, c, h, w]), &sums, &results].concat();
        self.launch(kernel, grid, &arguments)?;
        let dx = self.apply_masked(&masked, x, &reduced)?;
        let other_dx = self.apply_masked(&masked, other, &other_reduced)?;
        Ok((reduced.with_input(dx), other_reduced.with_input(other_dx)))
    }

    fn apply_masked(
        &self,
        masked: &Tensor,
        x: &Tensor,
        reduced: &Reduced,
    ) -> Result<Tensor, BridgeError> {
        let sizes = self.sizes(x)?;
        let dx = self.activations(sizes);
        let [vectors, grid] = self.vectors(sizes);
        let terms = (&reduced.terms).into();
        self.launch(
            c"apply_masked",
            [grid as u32, 1],
            &[masked.into(), x.into(), terms, (&dx).into(), vectors.into(), sizes[1].into()],
        )?;
        Ok(dx)
    }

    pub(super) fn reduced(&self, channels: i64) -> Reduced {
        let [weight, bias] = [(); 2].map(|()| self.numbers(&[channels]));
        Reduced { weight, bias, terms: self.numbers(&[3, channels]) }
    }

    /// The grid of a reduction over `rows`, and memory for `num_sums` partial sums of each block.
    pub(super) fn reduction(&self, rows: i64, channels: i64, num_sums: i64) -> ([u32; 2], Tensor) {
        const BLOCKS_PER_SM: i64 = 2;
        let groups = (channels + 255) / 256;
        let lanes = (channels / 8).min(32);
        // At least four rows for each thread, or the blocks outnumber the work.
        let useful = (rows * lanes + 1023) / 1024;
        let blocks = useful.clamp(1, (self.num_sms * BLOCKS_PER_SM / groups).max(1));
        ([blocks as u32, groups as u32], self.numbers(&[blocks, num_sums, channels]))
    }

    /// Vectors of 8 channels, and blocks for a pass over them.
    fn vectors(&self, [n, c, h, w]: [i64; 4]) -> [i64; 2] {
        let vectors = n * h * w * c / 8;
        [vectors, i64::from(self.blocks(vectors, 1024))]
    }

    fn incoming(
        &self,
        dy: &Incoming<'_>,
        [n, c, h, w]: [i64; 4],
    ) -> Result<[Argument; 2], BridgeError> {
        match dy {
            Incoming::One(first) => {
                self.same_sizes([n, c, h, w], first)?;
                Ok([(*first).into(), Argument::NULL])
            }
            Incoming::Sum(first, second) => {
                self.same_sizes([n, c, h, w], first)?;
                self.same_sizes([n, c, h, w], second)?;
                Ok([(*first).into(), (*second).into()])
            }
            Incoming::Blurred(first, second) => {
                self.same_sizes([n, c, h, w], first)?;
                self.same_sizes([n, c, (h + 1) / 2, (w + 1) / 2], second)?;
                Ok([(*first).into(), (*second).into()])
            }
            Incoming::Mean(first) => {
                self.same_sizes([n, c, 1, 1], first)?;
                Ok([(*first).into(), Argument::NULL])
            }
        }
    }

    pub(super) fn same_sizes(&self, expected: [i64; 4], other: &Tensor) -> Result<(), BridgeError> {
        let sizes = self.sizes(other)?;
        if sizes == expected {
            return Ok(());
        }
        Err(BridgeError::new(&format!("a fused kernel got {sizes:?} instead of {expected:?}")))
    }
}

/// Rows, channels, and the sizes of images and of their halves.
fn shape([n, c, h, w]: [i64; 4]) -> [Argument; 6] {
    [n * h * w, c, h, w, (h + 1) / 2, (w + 1) / 2].map(Into::into)
}
