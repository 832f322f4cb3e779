//! The order of samples per rank and epoch. An order depends only on seed, epoch and world size,
//! never on threads, machines or earlier draws, so a run can resume at any epoch.
//!
//! The block order is for disks with slow random access, as FFCV's quasi-random order: blocks of
//! neighbours come in random order, [`BLOCKS_TOGETHER`] of them at a time, and images are shuffled
//! within these.

use std::ops::Range;

use crate::data::{config::Order, order::torch, rng::Rng};

/// Separates the random stream of orders from other uses of the same seed.
const ORDER_STREAM: u64 = 0x006f_7264_6572;
/// Blocks whose images are shuffled together: 0.8 GB of files at 12 MB per block.
const BLOCKS_TOGETHER: usize = 64;

/// A rank among all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// This rank, from 0.
    pub rank: usize,
    /// Number of ranks.
    pub world_size: usize,
}

/// The sample orders of one split for one rank.
#[derive(Clone, Debug)]
pub struct Sampler {
    num_samples: usize,
    shard: Shard,
    seed: u64,
    order: Order,
    /// Samples per block, if neighbours stay together.
    block_len: Option<usize>,
}

impl Sampler {
    /// Distributes samples 0 to `num_samples` over `shard.world_size` ranks in the seeded order.
    pub fn new(num_samples: usize, shard: Shard, seed: u64) -> Self {
        assert!(shard.rank < shard.world_size, "rank {} of {}", shard.rank, shard.world_size);
        assert!(u32::try_from(num_samples).is_ok(), "{num_samples} samples exceed 32 bits");
        Self { num_samples, shard, seed, order: Order::Keyed, block_len: None }
    }

    /// The same samples in another order.
    #[must_use]
    pub fn ordered(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// The seeded order in blocks of `block_len` neighbours. The stored samples must have been
    /// shuffled once.
    #[must_use]
    pub fn in_blocks(self, block_len: usize) -> Self {
        assert!(block_len > 0, "a block needs samples");
        Self { order: Order::Keyed, block_len: Some(block_len), ..self }
    }

    /// The seed of orders and crops.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of training samples of this rank in an epoch; the same on all ranks.
    pub fn train_len(&self) -> usize {
        self.order.shard_len(self.num_samples, self.shard.world_size)
    }

    /// The rank's training samples of an epoch (from 0): every `world_size`-th element of one
    /// permutation, `train_len()` samples in total. If the order needs more samples than there are,
    /// the permutation restarts.
    pub fn epoch_order(&self, epoch: usize) -> Vec<u32> {
        let order = match self.order {
            Order::Keyed => self.keyed_permutation(epoch),
            Order::Torch => {
                torch::permutation(self.num_samples, self.seed.wrapping_add(epoch as u64))
            }
        };
        self.strided(order.iter().copied().cycle()).take(self.train_len()).collect()
    }

    fn keyed_permutation(&self, epoch: usize) -> Vec<u32> {
        let mut rng = Rng::keyed(&[ORDER_STREAM, self.seed, epoch as u64]);
        let mut order: Vec<u32> = Vec::with_capacity(self.num_samples);
        if self.block_len.is_none() {
            order.extend(0..self.num_samples as u32);
            rng.shuffle(&mut order);
        }
        for together in self.blocks(&mut rng).chunks(BLOCKS_TOGETHER) {
            let start = order.len();
            order.extend(together.iter().cloned().flatten());
            rng.shuffle(&mut order[start..]);
        }
        order
    }

    /// The blocks in the order of an epoch; empty if the order has no blocks.
    fn blocks(&self, rng: &mut Rng) -> Vec<Range<u32>> {
        let Some(block_len) = self.block_len else { return Vec::new() };
        let starts = (0..self.num_samples).step_by(block_len);
        let block = |start: usize| start as u32..(start + block_len).min(self.num_samples) as u32;
        let mut blocks: Vec<_> = starts.map(block).collect();
        rng.shuffle(&mut blocks);
        blocks
    }

    /// The blocks of an epoch, each with the step at which it should be prefetched: a group of
    /// blocks that are shuffled together is due at the first batch of the group before it. In
    /// ascending order; empty if the order has no blocks.
    pub(in crate::data) fn blocks_by_batch(
        &self,
        epoch: usize,
        batch: usize,
    ) -> Vec<(usize, Range<u32>)> {
        let mut rng = Rng::keyed(&[ORDER_STREAM, self.seed, epoch as u64]);
        let group_len = BLOCKS_TOGETHER * self.block_len.unwrap_or(0) / self.shard.world_size;
        let step = |i: usize| (i / BLOCKS_TOGETHER).saturating_sub(1) * group_len / batch;
        let blocks = self.blocks(&mut rng).into_iter().enumerate();
        blocks.map(|(i, block)| (step(i), block)).collect()
    }

    /// The rank's evaluation samples. Over all ranks each sample occurs once, and the ranks' counts
    /// differ by at most one.
    pub fn eval_order(&self) -> Vec<u32> {
        self.strided(0..self.num_samples as u32).collect()
    }

    fn strided(&self, order: impl IntoIterator<Item = u32>) -> impl Iterator<Item = u32> {
        order.into_iter().skip(self.shard.rank).step_by(self.shard.world_size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn orders(
        num_samples: usize,
        world_size: usize,
        order: fn(&Sampler) -> Vec<u32>,
    ) -> Vec<Vec<u32>> {
        (0..world_size)
            .map(|rank| order(&Sampler::new(num_samples, Shard { rank, world_size }, 3)))
            .collect()
    }

    fn sorted(orders: &[Vec<u32>]) -> Vec<u32> {
        let mut all = orders.concat();
        all.sort_unstable();
        all
    }

    proptest! {
        #[test]
        fn evaluation_orders_partition_the_samples(num_samples in 0..300usize, world in 1..9usize) {
            let fractions = orders(num_samples, world, Sampler::eval_order);
            prop_assert_eq!(sorted(&fractions), (0..num_samples as u32).collect::<Vec<_>>());
            let lens = fractions.iter().map(Vec::len);
            prop_assert!(lens.clone().max().unwrap() - lens.min().unwrap() <= 1);
        }

        #[test]
        fn training_orders_are_disjoint_and_of_equal_length(num_samples in 0..300usize, world in 1..9usize) {
            let fractions = orders(num_samples, world, |sampler| sampler.epoch_order(5));
            prop_assert!(fractions.iter().all(|fraction| fraction.len() == num_samples / world));
            let mut all = sorted(&fractions);
            prop_assert!(all.iter().all(|&sample| (sample as usize) < num_samples));
            all.dedup();
            prop_assert_eq!(all.len(), num_samples / world * world);
        }
    }

    const NUM_SAMPLES: usize = 4000;
    const CLASS: usize = 400;

    /// In randomly drawn batches, the number of samples of a class follows the hypergeometric
    /// distribution. Over many batches, its mean and variance must match; an order sorted by class
    /// or with evenly distributed classes fails one of them. Returns the measured variance, the
    /// expected variance and the tolerance; `is_of_class` selects the samples of the class.
    fn variances(
        sampler: impl Fn(Shard) -> Sampler,
        is_of_class: impl Fn(u32) -> bool,
    ) -> [f64; 3] {
        const BATCH: usize = 100;
        let mut counts = Vec::new();
        for epoch in 0..50 {
            for rank in 0..2 {
                let order = sampler(Shard { rank, world_size: 2 }).epoch_order(epoch);
                let of_class = |batch: &[u32]| batch.iter().filter(|&&i| is_of_class(i)).count();
                counts.extend(order.chunks_exact(BATCH).map(|batch| of_class(batch) as f64));
            }
        }
        let n = counts.len() as f64;
        let fraction = CLASS as f64 / NUM_SAMPLES as f64;
        let batch = BATCH as f64;
        let rest = (NUM_SAMPLES - BATCH) as f64 / (NUM_SAMPLES - 1) as f64;
        let variance = batch * fraction * (1.0 - fraction) * rest;
        let mean = counts.iter().sum::<f64>() / n;
        assert!((mean - batch * fraction).abs() < 1e-9, "every sample occurs once: {mean}");
        let found = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / n;
        // The variance of a variance of n draws is about 2 sigma^4 / n; the tolerance is five
        // standard errors.
        [found, variance, 5.0 * variance * (2.0 / n).sqrt()]
    }

    #[test]
    fn classes_of_a_batch_follow_the_hypergeometric_distribution() {
        let sampler = |shard| Sampler::new(NUM_SAMPLES, shard, 9);
        let [found, expected, limit] = variances(sampler, |i| i < CLASS as u32);
        assert!(
            (found - expected).abs() < limit,
            "variance {found}, expected {expected} +- {limit}"
        );
    }

    /// The samples of a store have been shuffled once, so only stores may be read in blocks.
    #[test]
    fn blocks_follow_the_hypergeometric_distribution_where_samples_were_shuffled_once() {
        // There are 250 blocks, of which 64 are shuffled together.
        let sampler = |shard| Sampler::new(NUM_SAMPLES, shard, 9).in_blocks(16);
        let mut class_of: Vec<u32> = (0..NUM_SAMPLES as u32).map(|i| i / CLASS as u32).collect();
        let [found, expected, limit] = variances(sampler, |i| class_of[i as usize] == 0);
        assert!(
            found - expected > limit,
            "variance {found} of a data set sorted by class is near {expected}"
        );
        super::Rng::keyed(&[1]).shuffle(&mut class_of);
        let [found, expected, limit] = variances(sampler, |i| class_of[i as usize] == 0);
        assert!(
            (found - expected).abs() < limit,
            "variance {found}, expected {expected} +- {limit}"
        );
    }

    #[test]
    fn torchs_order_shows_all_samples_and_fills_up_with_the_first_ones() {
        for (num_samples, world_size, twice) in [(24_usize, 8, 0), (21, 8, 3), (2, 5, 3), (0, 3, 0)]
        {
            let order = |sampler: &Sampler| sampler.clone().ordered(Order::Torch).epoch_order(1);
            let (mut all, len) = (Vec::new(), num_samples.div_ceil(world_size));
            for rank in 0..world_size {
                let fraction = order(&Sampler::new(num_samples, Shard { rank, world_size }, 3));
                assert_eq!(fraction.len(), len);
                all.extend(fraction);
            }
            assert_eq!(all.len(), num_samples + twice);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), num_samples);
        }
    }

    #[test]
    fn ranks_interleave_one_permutation() {
        let whole = orders(12, 1, |sampler| sampler.epoch_order(2)).concat();
        let fractions = orders(12, 3, |sampler| sampler.epoch_order(2));
        let woven: Vec<_> = (0..12).map(|i| fractions[i % 3][i / 3]).collect();
        assert_eq!(woven, whole);
    }

    #[test]
    fn a_block_order_shows_every_sample_and_reads_few_blocks_at_a_time() {
        const NUM_SAMPLES: usize = 20_011;
        let sampler = Sampler::new(NUM_SAMPLES, Shard { rank: 0, world_size: 1 }, 3).in_blocks(50);
        let order = sampler.epoch_order(1);
        assert_eq!(
            sorted(std::slice::from_ref(&order)),
            (0..NUM_SAMPLES as u32).collect::<Vec<_>>()
        );
        assert_ne!(order, sampler.epoch_order(2));
        let prefetch = sampler.blocks_by_batch(1, 100);
        assert_eq!(prefetch.len(), NUM_SAMPLES.div_ceil(50));
        for (step, batch) in order.chunks(100).enumerate() {
            let mut blocks: Vec<_> = batch.iter().map(|sample| sample / 50).collect();
            blocks.sort_unstable();
            blocks.dedup();
            // A batch may span two groups, and the last group may have few blocks.
            let least = if step < 160 { 20 } else { 1 };
            assert!((least..=2 * BLOCKS_TOGETHER).contains(&blocks.len()), "{}", blocks.len());
            for sample in batch {
                let is_prefetched =
                    prefetch.iter().any(|(at, block)| *at <= step && block.contains(sample));
                assert!(is_prefetched, "sample {sample} is read in step {step} without prefetch");
            }
        }
        let ahead = prefetch.iter().filter(|(step, _)| *step == 0).count();
        assert_eq!(ahead, 2 * BLOCKS_TOGETHER, "exactly two groups at the start");
    }

    #[test]
    fn orders_depend_on_epoch_and_seed() {
        let shard = Shard { rank: 0, world_size: 1 };
        let order = |seed, epoch| Sampler::new(50, shard, seed).epoch_order(epoch);
        assert_eq!(order(1, 0), order(1, 0));
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(1, 0), (0..50).collect::<Vec<_>>());
    }
}
