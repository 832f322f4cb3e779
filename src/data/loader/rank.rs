//! The loaders of a rank: its samples, its number of threads, and what it shares with the other
//! ranks of its machine.

use std::{sync::Arc, thread::available_parallelism};

use crate::data::{
    config::DataConfig,
    dataset::open::Dataset,
    error::DataError,
    loader::{
        Loader, LoaderConfig,
        batch::Pool,
        cache::{Cache, Sharing},
    },
    order::{
        plan::{TrainSchedule, eval_plans, train_plans},
        sampler::{Sampler, Shard},
    },
};

/// A rank that loads images: its position among the ranks that read the same data set, and the
/// buffers of its loaders. The default is a single rank.
#[derive(Clone, Debug)]
pub struct LoaderRank {
    /// Its part of the samples, among all ranks.
    pub shard: Shard,
    /// Its position among the ranks of its machine, which share files and cached images.
    pub on_machine: Shard,
    /// A number that the ranks of a run share on a machine, and that differs from other runs.
    pub group: u16,
    /// Cores of the machine for this rank, at least 1.
    pub num_cores: usize,
    /// The pool of pixel buffers for its loaders.
    pub pool: Pool,
}

impl Default for LoaderRank {
    fn default() -> Self {
        let alone = Shard { rank: 0, world_size: 1 };
        Self {
            shard: alone,
            on_machine: alone,
            group: 0,
            num_cores: available_parallelism().map_or(1, usize::from),
            pool: Pool::default(),
        }
    }
}

impl DataConfig {
    /// Decoding threads of a rank that has `num_cores` cores.
    pub fn num_threads(&self, num_cores: usize) -> usize {
        match self.num_workers {
            0 => num_cores,
            num_threads => num_threads,
        }
    }

    /// The sampler of `num_samples` samples for the rank of `shard`.
    pub fn sampler(&self, num_samples: usize, shard: Shard) -> Sampler {
        Sampler::new(num_samples, shard, self.order_seed.unwrap_or_default()).ordered(self.order)
    }
}

impl Dataset {
    /// Starts a loader of the training images of `rank` for all epochs of `schedule`.
    pub fn train_loader(
        &self,
        config: &DataConfig,
        schedule: TrainSchedule,
        rank: &LoaderRank,
    ) -> Result<Loader, DataError> {
        let plans = train_plans(self.train_sampler(config, rank), schedule);
        let sharing = match rank.on_machine.world_size {
            1 => Sharing::Alone,
            _ => Sharing::Ranks(rank.group),
        };
        let cache = Cache::open(config.train.ram_cache, self.train.num_keys(), sharing)?;
        let config = LoaderConfig {
            warm: Some(rank.on_machine),
            cache: cache.map(Arc::new),
            ..loader_config(config, rank)
        };
        Ok(Loader::start(Arc::clone(&self.train), plans, config))
    }

    /// Starts a loader of training batches that [`Self::train_loader`] has given already. It has no
    /// cache of its own and reads only files that batches need.
    pub fn reread_loader(
        &self,
        config: &DataConfig,
        schedule: TrainSchedule,
        rank: &LoaderRank,
    ) -> Loader {
        let plans = train_plans(self.train_sampler(config, rank), schedule);
        Loader::start(Arc::clone(&self.train), plans, loader_config(config, rank))
    }

    fn train_sampler(&self, config: &DataConfig, rank: &LoaderRank) -> Sampler {
        let sampler = config.sampler(self.train.len(), rank.shard);
        if config.train.block_shuffle { sampler.in_blocks(self.train.block_len()) } else { sampler }
    }

    /// Starts a loader of the validation images of `rank`, which reads each image once.
    pub fn eval_loader(
        &self,
        config: &DataConfig,
        batch_per_rank: usize,
        rank: &LoaderRank,
    ) -> Loader {
        let sampler = config.sampler(self.eval.len(), rank.shard);
        let plans = eval_plans(&sampler, batch_per_rank, config.eval);
        Loader::start(Arc::clone(&self.eval), plans, loader_config(config, rank))
    }
}

fn loader_config(config: &DataConfig, rank: &LoaderRank) -> LoaderConfig {
    LoaderConfig {
        num_threads: config.num_threads(rank.num_cores),
        batches_ahead: config.batches_ahead,
        on_bad_image: config.on_bad_image,
        pool: rank.pool.clone(),
        ..LoaderConfig::default()
    }
}
