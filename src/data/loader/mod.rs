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
pub(in crate::data) mod readahead;
pub(in crate::data) mod stats;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::data::config::OnBadImage;
use crate::data::error::DataError;
use crate::data::index::Index;
use crate::data::loader::batch::{Batch, Buffers, OpenRows, Pool};
use crate::data::loader::cache::Cache;
use crate::data::loader::readahead::{Readahead, spawn};
use crate::data::loader::stats::{Clock, LoaderStats};
use crate::data::order::plan::{BatchPlan, Transform};
use crate::data::order::sampler::Shard;
use crate::data::transform::sample::SampleReader;

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

struct Shared {
    index: Arc<Index>,
    on_bad_image: OnBadImage,
    cache: Option<Arc<Cache>>,
    stop: AtomicBool,
    /// Time that the threads spend reading and decoding.
    clock: Clock,
    pool: Pool,
}

/// A batch in the making.
struct Slot {
    plan: BatchPlan,
    rows: Mutex<Rows>,
    done: Condvar,
}

struct Rows {
    open: OpenRows,
    num_left: usize,
    /// Rows that evaluation leaves out.
    absent: Vec<usize>,
    skipped: Vec<(u32, String)>,
    /// The error of the lowest row that has one.
    failed: Option<(usize, DataError)>,
}

/// One row to make, and where.
struct Job {
    slot: Arc<Slot>,
    row: usize,
    pixels: BytesMut,
}

/// What became of a row.
enum Made {
    /// An image with this label.
    DecodedImage(i64),
    /// Nothing: evaluation leaves a bad image out.
    Absent,
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
                spawn("decode", move || work(&shared, &jobs))
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
                readahead.tell(&plan, cache.as_deref());
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
        let batch = Batch::new(&slot.plan, buffers, self.shared.pool.clone());
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

impl Slot {
    fn new(plan: BatchPlan, buffers: Buffers) -> Self {
        let (num_rows, image_size) = (plan.samples.len(), plan.transform.image_size());
        let rows = Rows {
            open: buffers.open(num_rows, image_size),
            num_left: num_rows,
            absent: Vec::new(),
            skipped: Vec::new(),
            failed: None,
        };
        Self { plan, rows: Mutex::new(rows), done: Condvar::new() }
    }

    /// Sleeps until every row is settled.
    fn wait(&self) -> MutexGuard<'_, Rows> {
        let rows = self.lock();
        let settled = self.done.wait_while(rows, |rows| rows.num_left > 0);
        settled.unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows stay sound when a thread panics in between: each is settled on its own.
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes images that were left out.
    fn skip(&self, bad: Vec<(u32, String)>) {
        if !bad.is_empty() {
            self.lock().skipped.extend(bad);
        }
    }

    /// Takes a finished row back.
    fn settle(&self, job_row: usize, pixels: BytesMut, made: Result<Made, DataError>) {
        let mut rows = self.lock();
        let label = if let Ok(Made::DecodedImage(label)) = made { label } else { 0 };
        rows.open.put(job_row, pixels, label);
        match made {
            Ok(Made::Absent) => rows.absent.push(job_row),
            Err(error) if rows.failed.as_ref().is_none_or(|(first, _)| job_row < *first) => {
                rows.failed = Some((job_row, error));
            }
            Ok(Made::DecodedImage(_)) | Err(_) => {}
        }
        rows.num_left -= 1;
        if rows.num_left == 0 {
            self.done.notify_one();
        }
    }
}

/// Life of a decoding thread.
fn work(shared: &Shared, jobs: &Receiver<Job>) {
    let mut reader = SampleReader::new(shared.cache.clone());
    for Job { slot, row, mut pixels } in jobs {
        if shared.stop.load(Ordering::Relaxed) {
            continue;
        }
        let work = || make_row(shared, &mut reader, (&slot, row), &mut pixels);
        let outcome = catch_unwind(AssertUnwindSafe(work));
        shared.clock.add(reader.take_times());
        let made = outcome.unwrap_or_else(|panic| {
            reader = SampleReader::new(shared.cache.clone());
            Err(DataError::Panicked(panic_message(&*panic)))
        });
        slot.settle(row, pixels, made);
    }
}

/// Makes one row. A bad image's row shows the next good sample of the batch in training, with a
/// crop of its own, and stays absent in evaluation.
fn make_row(
    shared: &Shared,
    reader: &mut SampleReader,
    (slot, row): (&Slot, usize),
    pixels: &mut [u8],
) -> Result<Made, DataError> {
    let plan = &slot.plan;
    let index = shared.index.serving(&plan.transform);
    let num_tries = match (shared.on_bad_image, &plan.transform) {
        (OnBadImage::Skip, Transform::Train { .. }) => plan.samples.len(),
        (OnBadImage::Skip, Transform::Eval(_)) | (OnBadImage::Error, _) => 1,
    };
    let mut bad = Vec::new();
    let mut made = None;
    for attempt in 0..num_tries {
        let sample = plan.samples[(row + attempt) % plan.samples.len()];
        let from = (index, sample as usize);
        match reader.read(from, (&plan.transform, &mut plan.rng(sample, attempt)), pixels) {
            Ok(()) => {
                made = Some(Made::DecodedImage(index.label(sample as usize) as i64));
                break;
            }
            Err(reason) => bad.push((sample, reason.to_string())),
        }
    }
    match (made, shared.on_bad_image, &plan.transform) {
        (Some(made), ..) => {
            slot.skip(bad);
            Ok(made)
        }
        (None, OnBadImage::Skip, Transform::Eval(_)) => {
            slot.skip(bad);
            Ok(Made::Absent)
        }
        (None, on_bad_image, _) => {
            let (sample, reason) = bad.pop().expect("a row is tried once at least");
            let path = index.path(sample as usize);
            let BatchPlan { epoch, step, .. } = *plan;
            Err(match on_bad_image {
                OnBadImage::Error => DataError::BadImage { path, reason },
                OnBadImage::Skip => DataError::BadBatch { epoch, step, path, reason },
            })
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
