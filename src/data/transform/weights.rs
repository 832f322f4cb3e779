//! The source positions of each output position of an axis, and their weights.
//!
//! - `OpenCV`'s `INTER_AREA`, from its definition: each output pixel is the mean of the source area
//!   that it covers. If either axis grows, both take two neighbours instead, with weights that keep
//!   flat pixels flat. Agrees with `OpenCV` to +-1.
//! - Bilinear and bicubic with antialiasing, as in PIL and torchvision: a kernel (Keys 1981,
//!   equation 4, with a = -0.5 for bicubic) that is stretched by the scale if the axis shrinks.
//!   Agrees with PIL to +-1, bicubic to +-2.

/// Slivers below this fraction of a pixel are left out of an area, as in `OpenCV`.
const SLIVER: f64 = 1e-3;

/// For each output position of an axis: the first source position, and the weights from there on.
/// All positions have the same number of weights; the last weights may be zero and may refer to
/// positions past the end.
#[derive(Default)]
pub(in crate::data) struct Taps {
    /// Weights per position.
    pub(in crate::data) per_position: usize,
    pub(in crate::data) first: Vec<usize>,
    pub(in crate::data) weights: Vec<f32>,
}

impl Taps {
    pub(in crate::data) fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.first.iter().copied().zip(self.weights.chunks_exact(self.per_position))
    }

    /// Clears the taps for up to `per_position` weights per position.
    fn clear(&mut self, per_position: usize) {
        self.per_position = per_position;
        self.first.clear();
        self.weights.clear();
    }

    /// Ends an output position, whose weights have been pushed.
    fn end_position(&mut self, first: usize) {
        self.first.push(first);
        self.weights.resize(self.first.len() * self.per_position, 0.0);
    }

    /// Reverses the output: its first position becomes the last.
    pub(in crate::data) fn mirror(&mut self) {
        self.first.reverse();
        self.weights.reverse();
        self.weights.chunks_exact_mut(self.per_position).for_each(<[f32]>::reverse);
    }

    pub(in crate::data) fn shrink(&mut self, source: usize, target: usize) {
        let scale = scale(source, target);
        self.clear(scale.ceil() as usize + 1);
        for position in 0..target {
            let start = position as f64 * scale;
            let end = (start + scale).min(source as f64);
            let whole_end = end.floor();
            let whole_start = start.ceil().min(whole_end);
            let mut first = whole_start as usize;
            let cell = end - start;
            if whole_start - start > SLIVER {
                first -= 1;
                self.weights.push(((whole_start - start) / cell) as f32);
            }
            for _ in whole_start as usize..whole_end as usize {
                self.weights.push((1.0 / cell) as f32);
            }
            if end - whole_end > SLIVER {
                self.weights.push(((end - whole_end) / cell) as f32);
            }
            self.end_position(first);
        }
    }

    /// The weights of a kernel that is zero from `reach` on.
    pub(in crate::data) fn filter(&mut self, source: usize, target: usize, kernel: Kernel) {
        let scale = source as f64 / target as f64;
        let stretch = scale.max(1.0);
        let reach = kernel.reach() * stretch;
        let ends = |position: usize| {
            let centre = (position as f64 + 0.5) * scale;
            let first = (centre - reach + 0.5).max(0.0) as usize;
            (centre, first, ((centre + reach + 0.5) as usize).min(source))
        };
        let num_taps = (0..target).map(ends).map(|(_, first, end)| end - first);
        self.clear(num_taps.max().unwrap_or(1));
        for position in 0..target {
            let (centre, first, end) = ends(position);
            let weight = |i: usize| kernel.at((i as f64 + 0.5 - centre) / stretch);
            let sum: f64 = (first..end).map(weight).sum();
            self.weights.extend((first..end).map(|i| (weight(i) / sum) as f32));
            self.end_position(first);
        }
    }

    pub(in crate::data) fn enlarge(&mut self, source: usize, target: usize) {
        let inverse = target as f64 / source as f64;
        self.clear(2);
        for position in 0..target {
            let first = ((position as f64 * scale(source, target)) as usize).min(source - 1);
            // Round to single precision before taking the fraction: a fraction of almost 1 becomes
            // 0.
            let fraction = ((position + 1) as f64 - (first + 1) as f64 * inverse) as f32;
            let fraction =
                if fraction <= 0.0 || first + 1 == source { 0.0 } else { fraction.fract() };
            self.weights.extend([1.0 - fraction, fraction]);
            self.end_position(first);
        }
    }
}

/// Source positions per target position, with `OpenCV`'s rounding: whether a product falls just
/// above or just below an integer decides which pixel is taken.
fn scale(source: usize, target: usize) -> f64 {
    1.0 / (target as f64 / source as f64)
}

/// The kernel: the weight of a neighbour by its distance in pixels of the smaller image.
#[derive(Clone, Copy)]
pub(in crate::data) enum Kernel {
    Triangle,
    Cubic,
}

impl Kernel {
    fn reach(self) -> f64 {
        match self {
            Self::Triangle => 1.0,
            Self::Cubic => 2.0,
        }
    }

    fn at(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let x = distance.abs();
        match self {
            Self::Triangle => (1.0 - x).max(0.0),
            Self::Cubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Cubic if x < 2.0 => ((x - 5.0) * x + 8.0) * x * A - 4.0 * A,
            Self::Cubic => 0.0,
        }
    }
}
