//! What a loader is asked for: a lazy sequence of batches, each with its samples and transform.

use std::ops::Range;

use crate::data::{
    config::{EvalTransform, TrainTransform},
    image::pixels::{Crop, Size},
    order::sampler::Sampler,
    rng::Rng,
    transform::crop::random_resized_crop,
};

/// Keeps the stream of crops apart from other uses of the same seed.
const CROP_STREAM: u64 = 0x0063_726f_7073;

/// One batch to make.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Step of the epoch, from 0.
    pub step: usize,
    /// From image to row.
    pub transform: Transform,
    /// Samples; row `i` shows sample `i`.
    pub samples: Vec<u32>,
    /// Seed of crops and flips.
    pub key: u64,
    /// Blocks of samples that come after, where the order is one of blocks.
    pub prefetch: Vec<Range<u32>>,
}

impl BatchPlan {
    /// The crop of `sample`, whose image has `size`; `None` in evaluation.
    pub fn crop(&self, sample: u32, size: Size) -> Option<Crop> {
        match &self.transform {
            Transform::Train { config, .. } => {
                Some(random_resized_crop(size, config, &mut self.rng(sample, 0)))
            }
            Transform::Eval(_) => None,
        }
    }

    /// Draws crop and flip of a sample, which do not depend on its batch. `attempt` counts the bad
    /// samples that it stands in for.
    pub fn rng(&self, sample: u32, attempt: usize) -> Rng {
        let (epoch, attempt) = (self.epoch as u64, attempt as u64);
        Rng::keyed(&[CROP_STREAM, self.key, epoch, u64::from(sample), attempt])
    }
}

/// From image to row.
#[derive(Clone, Copy, Debug)]
pub enum Transform {
    /// Random-resized crop and flip.
    Train {
        /// Side of the crop in this epoch, px; leads over `config.crop_size`.
        image_size: usize,
        /// Law of crop and flip.
        config: TrainTransform,
    },
    /// Centre crop.
    Eval(EvalTransform),
}

impl Transform {
    /// Side of the rows, px.
    pub fn image_size(&self) -> usize {
        match self {
            Self::Train { image_size, .. } => *image_size,
            Self::Eval(config) => config.crop_size,
        }
    }
}

/// Batches of several epochs.
#[derive(Clone, Debug)]
pub struct TrainSchedule {
    /// Samples of a batch on each rank.
    pub batch_per_rank: usize,
    /// Batches of an epoch; what is left of the order is dropped, and a last batch that is not
    /// full is filled from the order's front.
    pub steps_per_epoch: usize,
    /// Epochs to plan, from 0.
    pub epochs: Range<usize>,
    /// Side of the crops of each epoch, px; element `e` belongs to epoch `e`.
    pub image_sizes: Vec<usize>,
    /// Law of crop and flip.
    pub transform: TrainTransform,
}

/// Training batches, epoch after epoch. An epoch's order is drawn when its first batch is asked
/// for.
pub fn train_plans(
    sampler: Sampler,
    schedule: TrainSchedule,
) -> impl Iterator<Item = BatchPlan> + Send + 'static {
    train_plans_from(sampler, schedule, 0)
}

/// The same without the first `start_step` batches of the first epoch: they are neither read nor
/// planned, and cost no more than the one order that the epoch needs anyway.
pub fn train_plans_from(
    sampler: Sampler,
    schedule: TrainSchedule,
    start_step: usize,
) -> impl Iterator<Item = BatchPlan> + Send + 'static {
    let TrainSchedule { batch_per_rank, steps_per_epoch, epochs, image_sizes, transform } =
        schedule;
    let wanted = batch_per_rank * steps_per_epoch;
    assert!(
        wanted < sampler.train_len() + batch_per_rank,
        "{wanted} samples an epoch of {} on each rank",
        sampler.train_len()
    );
    assert!(epochs.end <= image_sizes.len(), "{} epochs, {} sides", epochs.end, image_sizes.len());
    assert!(start_step <= steps_per_epoch, "step {start_step} of {steps_per_epoch}");
    let first_epoch = epochs.start;
    epochs.flat_map(move |epoch| {
        let order = sampler.epoch_order(epoch);
        let transform = Transform::Train { image_size: image_sizes[epoch], config: transform };
        let key = sampler.seed();
        let start = if epoch == first_epoch { start_step } else { 0 };
        let mut blocks = sampler.blocks_by_batch(epoch, batch_per_rank).into_iter().peekable();
        (start..steps_per_epoch).map(move |step| {
            let due = std::iter::from_fn(|| blocks.next_if(|(at, _)| *at <= step));
            let prefetch = due.map(|(_, block)| block).collect();
            // Past the end of the order it begins anew: a last step may want more than is left.
            let rows = step * batch_per_rank..(step + 1) * batch_per_rank;
            let rows = rows.map(|row| order[row % order.len()]).collect();
            BatchPlan { epoch, step, transform, samples: rows, key, prefetch }
        })
    })
}

/// Evaluation batches of this rank, each sample once; the last may be short.
pub fn eval_plans(
    sampler: &Sampler,
    batch_per_rank: usize,
    transform: EvalTransform,
) -> impl Iterator<Item = BatchPlan> + Send + 'static {
    assert!(batch_per_rank > 0, "a batch of nothing");
    let order = sampler.eval_order();
    let key = sampler.seed();
    (0..order.len().div_ceil(batch_per_rank)).map(move |step| {
        let end = order.len().min((step + 1) * batch_per_rank);
        let rows = &order[step * batch_per_rank..end];
        let transform = Transform::Eval(transform);
        BatchPlan { epoch: 0, step, transform, samples: rows.to_vec(), key, prefetch: Vec::new() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::order::sampler::Shard;

    const SHARD: Shard = Shard { rank: 1, world_size: 2 };

    #[test]
    fn training_batches_follow_the_order_and_drop_its_end() {
        let sampler = Sampler::new(23, SHARD, 4);
        let schedule = TrainSchedule {
            batch_per_rank: 3,
            steps_per_epoch: 3,
            epochs: 1..3,
            image_sizes: vec![8, 12, 16],
            transform: TrainTransform::default(),
        };
        let plans: Vec<_> = train_plans(sampler.clone(), schedule).collect();
        let at: Vec<_> =
            plans.iter().map(|p| (p.epoch, p.step, p.transform.image_size())).collect();
        let expected = [(1, 0, 12), (1, 1, 12), (1, 2, 12), (2, 0, 16), (2, 1, 16), (2, 2, 16)];
        assert_eq!(at, expected);
        let rows: Vec<_> = plans[..3].iter().flat_map(|plan| plan.samples.clone()).collect();
        assert_eq!(rows, sampler.epoch_order(1)[..9]);
    }

    #[test]
    fn plans_from_the_middle_are_the_rest_of_all_plans() {
        let schedule = TrainSchedule {
            batch_per_rank: 2,
            steps_per_epoch: 5,
            epochs: 1..3,
            image_sizes: vec![8; 3],
            transform: TrainTransform::default(),
        };
        let sampler = Sampler::new(23, SHARD, 4);
        let seen = |plan: BatchPlan| (plan.epoch, plan.step, plan.samples, plan.key);
        let all: Vec<_> = train_plans(sampler.clone(), schedule.clone()).map(seen).collect();
        for start in 0..=5 {
            let rest = train_plans_from(sampler.clone(), schedule.clone(), start).map(seen);
            assert_eq!(rest.collect::<Vec<_>>(), all[start..]);
        }
    }

    #[test]
    fn the_last_evaluation_batch_may_be_short() {
        let sampler = Sampler::new(23, SHARD, 4);
        let plans: Vec<_> = eval_plans(&sampler, 4, EvalTransform::default()).collect();
        let batches: Vec<_> = plans.iter().map(|plan| plan.samples.clone()).collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(batches.concat(), sampler.eval_order());
    }
}
