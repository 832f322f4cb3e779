//! Decodes batches ahead of the trainer on threads of its own.
//!
//! A planner walks the plans and hands out samples, `batches_ahead` batches at a time; threads
//! turn samples into rows; [`Loader::next_batch`] returns batches in the order of the plans. The
//! planner knows no epochs, so the next epoch's first batches are made while the last steps of
//! this one train.
//!
//! - A row depends on seed, epoch and sample, never on the thread that made it.
//! - Pixel buffers go round: a dropped [`Batch`] gives its buffer back.
//! - Nobody spins: threads without work sleep, for cores are shared with compute.
//! - Where an archive or a shard has changed, no epoch begins: its spans may show anything.
//! - A panic on a thread becomes an error of the batch that it was working on.
//! - The system is told what a batch needs when the batch is planned, so that reads run ahead of
//!   decoding by `batches_ahead` batches (`readahead`).
//! - Deliberately absent: pinned memory.

pub(in crate::data) mod batch;
pub(in crate::data) mod budget;
pub(in crate::data) mod cache;
pub(in crate::data) mod memory;
mod rank;
pub(in crate::data) mod readahead;
pub(in crate::data) mod sample;
mod slot;
pub(in crate::data) mod stats;
mod worker;

#[cfg(test)]
mod tests;

pub use rank::LoaderRank;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::data::config::OnBadImage;
use crate::data::error::DataError;
use crate::data::index::Index;
use crate::data::loader::batch::{Batch, Pool};
use crate::data::loader::cache::Cache;
use crate::data::loader::readahead::{Readahead, spawn};
use crate::data::loader::slot::Slot;
use crate::data::loader::stats::{Clock, LoaderStats};
use crate::data::loader::worker::{Job, Shared, panic_message, run_worker};
use crate::data::order::plan::{BatchPlan, Transform};
use crate::data::order::sampler::Shard;

/// Rows that may wait for a thread: the planner pauses above it.
const MAX_JOBS: usize = 1024;

/// How a loader works.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Decoding threads, at least 1.
    pub num_threads: usize,
    /// Batches in the making or waiting to be asked for, at least 1.
    pub batches_ahead: usize,
    /// What an image that cannot be decoded leads to.
    pub on_bad_image: OnBadImage,
    /// This rank's share of the archives and shards, among those of its machine, that is streamed
    /// into the system's cache from the start, where it has room for all of them.
    pub warm: Option<Shard>,
    /// Where decoded training images are kept.
    pub cache: Option<Arc<Cache>>,
    /// Where pixel buffers come from and go back to.
    pub pool: Pool,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        let on_bad_image = OnBadImage::Error;
        let pool = Pool::default();
        Self { num_threads: 1, batches_ahead: 2, on_bad_image, warm: None, cache: None, pool }
    }
}

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadImage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Threads that decode ahead. Dropping it stops them.
pub struct Loader {
    shared: Arc<Shared>,
    /// Batches in the order of the plans; a batch is here before it is done.
    slots: Receiver<Arc<Slot>>,
    /// One permit for each batch that may be in the making; `None` once stopped.
    permits: Option<Sender<()>>,
    planner: Option<JoinHandle<Result<(), DataError>>>,
    workers: Vec<JoinHandle<()>>,
    waited: Duration,
    skipped: HashSet<u32>,
    bad: Vec<BadImage>,
}

impl Loader {
    /// Starts decoding `plans` from `index`.
    pub fn start(
        index: Arc<Index>,
        plans: impl Iterator<Item = BatchPlan> + Send + 'static,
        config: LoaderConfig,
    ) -> Self {
        assert!(config.num_threads > 0, "a loader without threads");
        assert!(config.batches_ahead > 0, "a loader without batches ahead");
        let shared = Arc::new(Shared {
            index,
            on_bad_image: config.on_bad_image,
            cache: config.cache,
            stop: AtomicBool::new(false),
            clock: Clock::default(),
            pool: config.pool,
        });
        let (permits, granted) = bounded(config.batches_ahead);
        for _ in 0..config.batches_ahead {
            permits.send(()).expect("the channel has room for all permits");
        }
        let (slot_sender, slots) = unbounded();
        let (job_sender, jobs) = bounded::<Job>(MAX_JOBS);
        let workers = (0..config.num_threads)
            .map(|_| {
                let (shared, jobs) = (Arc::clone(&shared), jobs.clone());
                spawn("decode", move || run_worker(&shared, &jobs))
            })
            .collect();
        let planner_shared = Arc::clone(&shared);
        let planner = spawn("plan", move || {
            let Shared { pool, index, cache, .. } = &*planner_shared;
            // What memory there is belongs to the cache, where there is one.
            let readahead = Readahead::start(index, config.warm.filter(|_| cache.is_none()));
            let mut epoch = None;
            for plan in plans {
                if granted.recv().is_err() {
                    return Ok(());
                }
                if epoch.replace(plan.epoch) != Some(plan.epoch) {
                    index.check_unchanged()?;
                }
                readahead.advise(&plan, cache.as_deref());
                let slot = Arc::new(Slot::new(plan, pool.take()));
                let _ = slot_sender.send(Arc::clone(&slot));
                for row in 0..slot.plan.samples.len() {
                    let pixels = slot.lock().open.take(row);
                    let _ = job_sender.send(Job { slot: Arc::clone(&slot), row, pixels });
                }
            }
            Ok(())
        });
        Self {
            shared,
            slots,
            permits: Some(permits),
            planner: Some(planner),
            workers,
            waited: Duration::ZERO,
            skipped: HashSet::new(),
            bad: Vec::new(),
        }
    }

    /// The next batch in the order of the plans; `None` after the last. An error names the file
    /// and costs its batch only: the next call goes on with the next batch. Evaluation batches of
    /// which no image is left are passed over.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, DataError> {
        loop {
            match self.next_planned()? {
                Some(batch) if batch.is_empty() => {}
                batch => return Ok(batch),
            }
        }
    }

    fn next_planned(&mut self) -> Result<Option<Batch>, DataError> {
        let begin = Instant::now();
        let slot = self.slots.recv();
        let rows = slot.as_ref().map(|slot| slot.wait());
        self.waited += begin.elapsed();
        let (Ok(slot), Ok(mut rows)) = (slot.as_ref(), rows) else {
            return self.join_planner().map(|()| None);
        };
        if let Some(permits) = &self.permits {
            // It fails once the planner is through: no plan is left to permit.
            let _ = permits.try_send(());
        }
        self.note_skipped(&slot.plan.transform, std::mem::take(&mut rows.skipped));
        let buffers = rows.open.close();
        let batch = Batch::new(Arc::clone(&slot.plan), buffers, self.shared.pool.clone());
        match rows.failed.take() {
            Some((_, error)) => Err(error),
            None => Ok(Some(batch.without_rows(&rows.absent))),
        }
    }

    /// Seconds spent waiting in [`Self::next_batch`] so far.
    pub fn wait_s(&self) -> f64 {
        self.waited.as_secs_f64()
    }

    /// Where the loader's time went so far.
    pub fn stats(&self) -> LoaderStats {
        LoaderStats { wait_s: self.wait_s(), ..self.shared.clock.read() }
    }

    /// Files left out so far.
    pub fn num_skipped(&self) -> usize {
        self.skipped.len()
    }

    /// Files left out since the last call, each named once in a loader's life.
    pub fn take_bad(&mut self) -> Vec<BadImage> {
        std::mem::take(&mut self.bad)
    }

    fn note_skipped(&mut self, transform: &Transform, mut skipped: Vec<(u32, String)>) {
        // Threads finish in any order; reports do not.
        skipped.sort_unstable();
        for (sample, reason) in skipped {
            if self.skipped.insert(sample) {
                let path = self.shared.index.serving(transform).path(sample as usize);
                self.bad.push(BadImage { path, reason });
            }
        }
    }

    fn join_planner(&mut self) -> Result<(), DataError> {
        match self.planner.take().map(JoinHandle::join) {
            Some(Err(panic)) => Err(DataError::Panicked(panic_message(&*panic))),
            Some(Ok(planned)) => planned,
            None => Ok(()),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Without permits the planner ends, with it the jobs, with them the workers.
        self.permits = None;
        let _ = self.join_planner();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
