//! Batch plans, the input of a loader: a lazy sequence of batches with their samples and
//! transforms.

use std::ops::Range;

use crate::data::{
    config::{EvalTransform, Flip, TrainTransform},
    image::pixels::{Crop, Size},
    order::sampler::Sampler,
    rng::Rng,
    transform::crop::random_resized_crop,
};

/// Separates the random stream of crops from other uses of the same seed.
const CROP_STREAM: u64 = 0x0063_726f_7073;
/// The same for flips that alternate.
const FLIP_STREAM: u64 = 0x0066_6c69_7073;

/// The plan of one batch.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Step of the epoch, from 0.
    pub step: usize,
    /// The transform from image to row.
    pub transform: Transform,
    /// The samples; row `i` shows sample `samples[i]`.
    pub samples: Vec<u32>,
    /// The seed of crops and flips.
    pub key: u64,
    /// Blocks of samples that are needed after this batch, if the order is one of blocks.
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

    /// The transform of a row that shows `sample`. Where flips alternate, it flips always or never.
    pub fn transform_of(&self, sample: u32) -> Transform {
        let mut transform = self.transform;
        if let Transform::Train { config, .. } = &mut transform
            && config.flip == Flip::Alternating
        {
            let is_flipped = self.alternates_to_flipped(sample, config.hflip);
            config.hflip = f64::from(u8::from(is_flipped));
        }
        transform
    }

    /// Whether `sample` is flipped in this epoch: with probability `p` in the first, and then in every
    /// other one (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", section 3.6). The draw depends
    /// on nothing but seed and sample.
    fn alternates_to_flipped(&self, sample: u32, p: f64) -> bool {
        let first = Rng::keyed(&[FLIP_STREAM, self.key, u64::from(sample)]).chance(p);
        first == self.epoch.is_multiple_of(2)
    }

    /// The random stream for crop and flip of a sample. It does not depend on the batch. `attempt`
    /// counts the bad samples that this one replaces.
    pub fn rng(&self, sample: u32, attempt: usize) -> Rng {
        let (epoch, attempt) = (self.epoch as u64, attempt as u64);
        Rng::keyed(&[CROP_STREAM, self.key, epoch, u64::from(sample), attempt])
    }
}

/// The transform from image to row.
#[derive(Clone, Copy, Debug)]
pub enum Transform {
    /// Random-resized crop and flip.
    Train {
        /// Crop size, px.
        image_size: usize,
        /// Parameters of crop and flip.
        config: TrainTransform,
    },
    /// Centre crop.
    Eval(EvalTransform),
}

impl Transform {
    /// Width and height of the rows, px.
    pub fn image_size(&self) -> usize {
        match self {
            Self::Train { image_size, .. } => *image_size,
            Self::Eval(config) => config.crop_size,
        }
    }
}

/// The batches of several epochs.
#[derive(Clone, Debug)]
pub struct TrainSchedule {
    /// Batch size per rank.
    pub batch_per_rank: usize,
    /// Batches per epoch. The rest of the order is dropped, and an incomplete last batch is filled
    /// up from the front of the order.
    pub steps_per_epoch: usize,
    /// The epochs to plan, from 0.
    pub epochs: Range<usize>,
    /// Batches of the first epoch that are left out: neither read nor planned.
    pub start_step: usize,
    /// Crop size of each epoch, px; element `e` belongs to epoch `e`.
    pub image_sizes: Vec<usize>,
    /// Parameters of crop and flip of each epoch; element `e` belongs to epoch `e`.
    pub transforms: Vec<TrainTransform>,
}

/// Training batches, epoch after epoch. The order of an epoch is drawn when its first batch is
/// requested.
pub fn train_plans(
    sampler: Sampler,
    schedule: TrainSchedule,
) -> impl Iterator<Item = BatchPlan> + Send + 'static {
    let TrainSchedule { batch_per_rank, steps_per_epoch, epochs, start_step, .. } = schedule;
    let TrainSchedule { image_sizes, transforms, .. } = schedule;
    let wanted = batch_per_rank * steps_per_epoch;
    assert!(
        wanted < sampler.train_len() + batch_per_rank,
        "{wanted} samples per epoch exceed the {} samples of a rank",
        sampler.train_len()
    );
    assert!(
        epochs.end <= image_sizes.len().min(transforms.len()),
        "{} epochs, but {} image sizes and {} transforms",
        epochs.end,
        image_sizes.len(),
        transforms.len()
    );
    assert!(start_step <= steps_per_epoch, "step {start_step} of {steps_per_epoch}");
    let first_epoch = epochs.start;
    epochs.flat_map(move |epoch| {
        let order = sampler.epoch_order(epoch);
        let transform =
            Transform::Train { image_size: image_sizes[epoch], config: transforms[epoch] };
        let key = sampler.seed();
        let start = if epoch == first_epoch { start_step } else { 0 };
        let mut blocks = sampler.blocks_by_batch(epoch, batch_per_rank).into_iter().peekable();
        (start..steps_per_epoch).map(move |step| {
            let due = std::iter::from_fn(|| blocks.next_if(|(at, _)| *at <= step));
            let prefetch = due.map(|(_, block)| block).collect();
            // The order restarts at its end: the last step may need more samples than are left.
            let rows = step * batch_per_rank..(step + 1) * batch_per_rank;
            let rows = rows.map(|row| order[row % order.len()]).collect();
            BatchPlan { epoch, step, transform, samples: rows, key, prefetch }
        })
    })
}

/// Evaluation batches of this rank, with each sample once. The last batch may be incomplete.
pub fn eval_plans(
    sampler: &Sampler,
    batch_per_rank: usize,
    transform: EvalTransform,
) -> impl Iterator<Item = BatchPlan> + Send + 'static {
    assert!(batch_per_rank > 0, "the batch size is 0");
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

    fn transform(least: f64) -> TrainTransform {
        TrainTransform { scale: [least, 1.0], ..TrainTransform::default() }
    }

    #[test]
    fn training_batches_follow_the_order_and_drop_its_end() {
        let sampler = Sampler::new(23, SHARD, 4);
        let schedule = TrainSchedule {
            batch_per_rank: 3,
            steps_per_epoch: 3,
            epochs: 1..3,
            start_step: 0,
            image_sizes: vec![8, 12, 16],
            transforms: [0.1, 0.2, 0.3].map(transform).to_vec(),
        };
        let plans: Vec<_> = train_plans(sampler.clone(), schedule).collect();
        let at: Vec<_> =
            plans.iter().map(|p| (p.epoch, p.step, p.transform.image_size())).collect();
        let expected = [(1, 0, 12), (1, 1, 12), (1, 2, 12), (2, 0, 16), (2, 1, 16), (2, 2, 16)];
        assert_eq!(at, expected);
        let scales = plans.iter().map(|plan| match plan.transform {
            Transform::Train { config, .. } => config.scale[0],
            Transform::Eval(_) => 0.0,
        });
        assert_eq!(scales.collect::<Vec<_>>(), [0.2, 0.2, 0.2, 0.3, 0.3, 0.3]);
        let rows: Vec<_> = plans[..3].iter().flat_map(|plan| plan.samples.clone()).collect();
        assert_eq!(rows, sampler.epoch_order(1)[..9]);
    }

    #[test]
    fn plans_from_the_middle_are_the_rest_of_all_plans() {
        let schedule = TrainSchedule {
            batch_per_rank: 2,
            steps_per_epoch: 5,
            epochs: 1..3,
            start_step: 0,
            image_sizes: vec![8; 3],
            transforms: vec![TrainTransform::default(); 3],
        };
        let sampler = Sampler::new(23, SHARD, 4);
        let seen = |plan: BatchPlan| (plan.epoch, plan.step, plan.samples, plan.key);
        let all: Vec<_> = train_plans(sampler.clone(), schedule.clone()).map(seen).collect();
        for start_step in 0..=5 {
            let rest = TrainSchedule { start_step, ..schedule.clone() };
            let rest = train_plans(sampler.clone(), rest).map(seen);
            assert_eq!(rest.collect::<Vec<_>>(), all[start_step..]);
        }
    }

    /// Whether the plans of an epoch flip each sample, by its number.
    fn flips(shard: Shard, seed: u64, epoch: usize) -> Vec<(u32, bool)> {
        let flip = Flip::Alternating;
        let schedule = TrainSchedule {
            batch_per_rank: 10,
            steps_per_epoch: 1000 / shard.world_size,
            epochs: epoch..epoch + 1,
            start_step: 0,
            image_sizes: vec![8; epoch + 1],
            transforms: vec![TrainTransform { flip, ..TrainTransform::default() }; epoch + 1],
        };
        let plans = train_plans(Sampler::new(10_000, shard, seed), schedule);
        let is_flipped = |plan: &BatchPlan, sample| match plan.transform_of(sample) {
            Transform::Train { config, .. } => match config.hflip {
                0.0 => false,
                1.0 => true,
                p => panic!("{p} leaves it to chance"),
            },
            Transform::Eval(_) => panic!("a training plan"),
        };
        let rows = plans.flat_map(|plan| {
            plan.samples.clone().into_iter().map(move |i| (i, is_flipped(&plan, i)))
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn flips_alternate_after_a_random_first_epoch() {
        let alone = Shard { rank: 0, world_size: 1 };
        let first = flips(alone, 4, 0);
        let num_flipped = |of: &[(u32, bool)]| of.iter().filter(|(_, flipped)| *flipped).count();
        assert_eq!(first.len(), 10_000);
        // Within four standard deviations of half.
        assert!((4800..=5200).contains(&num_flipped(&first)), "{}", num_flipped(&first));
        let other: Vec<_> = first.iter().map(|&(sample, flipped)| (sample, !flipped)).collect();
        for epoch in 1..6 {
            let expected = if epoch % 2 == 0 { &first } else { &other };
            assert!(flips(alone, 4, epoch) == *expected, "epoch {epoch}");
        }
        let ranks = [0, 1].map(|rank| flips(Shard { rank, world_size: 2 }, 4, 0));
        let mut together = ranks.concat();
        together.sort_unstable();
        assert!(together == first, "ranks do not matter");
        let same = first.iter().zip(flips(alone, 5, 0)).filter(|(a, b)| **a == *b).count();
        assert!((4800..=5200).contains(&same), "another seed: {same} of 10000 alike");
    }

    #[test]
    fn the_last_evaluation_batch_may_be_incomplete() {
        let sampler = Sampler::new(23, SHARD, 4);
        let plans: Vec<_> = eval_plans(&sampler, 4, EvalTransform::default()).collect();
        let batches: Vec<_> = plans.iter().map(|plan| plan.samples.clone()).collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(batches.concat(), sampler.eval_order());
    }
}
