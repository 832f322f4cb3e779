//! The order of PyTorch's `DistributedSampler`, number for number. FFCV uses it in data-parallel
//! training, and so did `MosaicML`'s submission (always with seed 0).
//!
//! PyTorch permutes by a Fisher-Yates shuffle from the front (`randperm` of the CPU generator),
//! with numbers of MT19937 (Matsumoto and Nishimura 1998), seeded with seed + epoch. The modulo
//! makes the first positions slightly non-uniform, by one part in thousands; this code reproduces
//! that.

use rand_mt::Mt;

/// From this many samples on, PyTorch draws 64-bit numbers, which gives another permutation.
pub const MAX_TORCH_SAMPLES: usize = u32::MAX as usize / 20 - 1;

/// `torch.randperm(num_samples)` of a generator with `seed`, of which only the lower 32 bits are
/// used.
pub(in crate::data) fn permutation(num_samples: usize, seed: u64) -> Vec<u32> {
    assert!(num_samples <= MAX_TORCH_SAMPLES, "{num_samples} samples");
    let mut random = Mt::new(seed as u32);
    let mut order: Vec<u32> = (0..num_samples as u32).collect();
    for i in 0..num_samples.saturating_sub(1) {
        let left = (num_samples - i) as u32;
        order.swap(i, i + (random.next_u32() % left) as usize);
    }
    order
}
