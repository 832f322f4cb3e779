//! The data loader: worker threads decode batches ahead of the trainer.
//!
//! A planner thread walks the batch plans and hands out samples, `batches_ahead` batches at a time.
//! Worker threads turn samples into rows, and [`Loader::next_batch`] returns batches in the order
//! of the plans. The planner ignores epoch boundaries, so the first batches of the next epoch are
//! made while the last steps of this one train.
//!
//! - A row depends only on seed, epoch and sample, never on the thread that made it.
//! - Pixel buffers are recycled: a dropped [`Batch`] returns its buffer.
//! - No thread spins: idle threads sleep, because the cores are shared with compute.
//! - An epoch does not start if an archive or a shard has changed: its spans could point anywhere.
//! - If a worker thread panics, the batch it was working on returns an error.
//! - Reads are announced to the system when a batch is planned, so that the disk works
//!   `batches_ahead` batches ahead of decoding (`readahead`).
//! - Pinned memory is deliberately left to the trainer.

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

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::data::{
    config::OnBadImage,
    error::DataError,
    index::Index,
    loader::{
        batch::{Batch, Pool},
        cache::Cache,
        readahead::{Readahead, spawn},
        slot::Slot,
        stats::{Clock, LoaderStats},
        worker::{Job, Shared, panic_message, run_worker},
    },
    order::{
        plan::{BatchPlan, Transform},
        sampler::Shard,
    },
};

/// Limit of rows that wait for a thread; beyond it the planner pauses.
const MAX_JOBS: usize = 1024;

/// Settings of a loader.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Decoding threads, at least 1.
    pub num_threads: usize,
    /// Prefetched batches, finished or in progress, at least 1.
    pub batches_ahead: usize,
    /// What to do with an image that cannot be decoded.
    pub on_bad_image: OnBadImage,
    /// This rank's part of the archives and shards. Each rank of a machine streams its part into
    /// the page cache from the start, if all of them fit.
    pub warm: Option<Shard>,
    /// The cache of decoded training images.
    pub cache: Option<Arc<Cache>>,
    /// The pool of pixel buffers.
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

/// A data loader. Dropping it stops its threads.
pub struct Loader {
    shared: Arc<Shared>,
    /// Batches in the order of the plans, including unfinished ones.
    slots: Receiver<Arc<Slot>>,
    /// One permit for each batch that may be in progress; `None` once stopped.
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
        assert!(config.num_threads > 0, "a loader needs threads");
        assert!(config.batches_ahead > 0, "a loader needs batches_ahead of at least 1");
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
            permits.send(()).expect("the channel holds all permits");
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
            // With a cache of images, the memory belongs to it: do not warm the page cache.
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

    /// The next batch in the order of the plans; `None` after the last. An error names the file and
    /// loses only its batch: the next call continues with the next batch. Evaluation batches
    /// without a readable image are skipped.
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
            // This fails once the planner has finished: no plan is left to permit.
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

    /// Where the loader's time has gone so far.
    pub fn stats(&self) -> LoaderStats {
        LoaderStats { wait_s: self.wait_s(), ..self.shared.clock.read() }
    }

    /// Files left out so far.
    pub fn num_skipped(&self) -> usize {
        self.skipped.len()
    }

    /// Files left out since the last call; each file is reported once.
    pub fn take_bad(&mut self) -> Vec<BadImage> {
        std::mem::take(&mut self.bad)
    }

    fn note_skipped(&mut self, transform: &Transform, mut skipped: Vec<(u32, String)>) {
        // Sort, because threads finish in any order.
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
        // Without permits the planner ends; this closes the jobs, which ends the workers.
        self.permits = None;
        let _ = self.join_planner();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
