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
//! - A panic on a thread becomes an error of the batch that it was working on.
//!
//! Deliberately absent: an I/O stage of its own and pinned memory.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::batch::{Batch, Buffers};
use super::random::Rng;
use super::sample::SampleReader;
use super::{BatchPlan, DataError, Folder, OnBadImage, Transform};

/// Keeps the stream of crops apart from other uses of the same seed.
const CROP_STREAM: u64 = 0x0063_726f_7073;

/// How a loader works.
#[derive(Clone, Copy, Debug)]
pub struct LoaderConfig {
    /// Decoding threads, at least 1.
    pub num_threads: usize,
    /// Batches in the making or waiting to be asked for, at least 1.
    pub batches_ahead: usize,
    /// What a picture that cannot be decoded leads to.
    pub on_bad_image: OnBadImage,
}

/// A picture that was left out.
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
    planner: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    waited: Duration,
    skipped: HashSet<u32>,
    bad: Vec<BadImage>,
}

struct Shared {
    folder: Arc<Folder>,
    on_bad_image: OnBadImage,
    stop: AtomicBool,
    /// Buffers that came back.
    pool: (Sender<Buffers>, Receiver<Buffers>),
}

/// A batch in the making.
struct Slot {
    plan: BatchPlan,
    rows: Mutex<Rows>,
    done: Condvar,
}

struct Rows {
    buffers: Buffers,
    num_left: usize,
    /// Rows that evaluation leaves out.
    absent: Vec<usize>,
    skipped: Vec<(u32, String)>,
    /// The error of the lowest row that has one.
    failed: Option<(usize, DataError)>,
}

/// One row to make.
struct Job {
    slot: Arc<Slot>,
    row: usize,
}

impl Loader {
    /// Starts decoding `plans` from `folder`.
    pub fn start(
        folder: Arc<Folder>,
        plans: impl Iterator<Item = BatchPlan> + Send + 'static,
        config: LoaderConfig,
    ) -> Self {
        assert!(config.num_threads > 0, "a loader without threads");
        assert!(config.batches_ahead > 0, "a loader without batches ahead");
        let shared = Arc::new(Shared {
            folder,
            on_bad_image: config.on_bad_image,
            stop: AtomicBool::new(false),
            pool: unbounded(),
        });
        let (permits, granted) = bounded(config.batches_ahead);
        for _ in 0..config.batches_ahead {
            permits.send(()).expect("the channel has room for all permits");
        }
        let (slot_sender, slots) = unbounded();
        let (job_sender, jobs) = unbounded::<Job>();
        let workers = (0..config.num_threads)
            .map(|_| {
                let (shared, jobs) = (Arc::clone(&shared), jobs.clone());
                spawn("decode", move || work(&shared, &jobs))
            })
            .collect();
        let pool = shared.pool.1.clone();
        let planner = spawn("plan", move || {
            for plan in plans {
                if granted.recv().is_err() {
                    return;
                }
                let slot = Arc::new(Slot::new(plan, pool.try_recv().unwrap_or_default()));
                let _ = slot_sender.send(Arc::clone(&slot));
                for row in 0..slot.plan.samples.len() {
                    let _ = job_sender.send(Job { slot: Arc::clone(&slot), row });
                }
            }
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
    /// and costs its batch only: the next call goes on with the next batch.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, DataError> {
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
        let mut skipped = std::mem::take(&mut rows.skipped);
        skipped.sort_unstable();
        for (sample, reason) in skipped {
            if self.skipped.insert(sample) {
                let path = self.shared.folder.path(sample as usize);
                self.bad.push(BadImage { path, reason });
            }
        }
        let buffers = std::mem::take(&mut rows.buffers);
        let batch = Batch::new(&slot.plan, buffers, self.shared.pool.0.clone());
        match rows.failed.take() {
            Some((_, error)) => Err(error),
            None => Ok(Some(batch.without_rows(&rows.absent))),
        }
    }

    /// Seconds spent waiting in [`Self::next_batch`] so far.
    pub fn wait_s(&self) -> f64 {
        self.waited.as_secs_f64()
    }

    /// Files left out so far.
    pub fn num_skipped(&self) -> usize {
        self.skipped.len()
    }

    /// Files left out since the last call, each named once in a loader's life.
    pub fn take_bad(&mut self) -> Vec<BadImage> {
        std::mem::take(&mut self.bad)
    }

    fn join_planner(&mut self) -> Result<(), DataError> {
        match self.planner.take().map(JoinHandle::join) {
            Some(Err(panic)) => Err(DataError::Panicked(panic_message(&*panic))),
            Some(Ok(())) | None => Ok(()),
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
    fn new(plan: BatchPlan, mut buffers: Buffers) -> Self {
        let (num_rows, side) = (plan.samples.len(), plan.transform.side());
        buffers.reserve_rows(num_rows, side);
        let rows = Rows {
            buffers,
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

    fn settle(&self, mut rows: MutexGuard<'_, Rows>) {
        rows.num_left -= 1;
        if rows.num_left == 0 {
            self.done.notify_one();
        }
    }

    fn fail(&self, row: usize, error: DataError) {
        let mut rows = self.lock();
        if rows.failed.as_ref().is_none_or(|(first, _)| row < *first) {
            rows.failed = Some((row, error));
        }
        self.settle(rows);
    }
}

/// Life of a decoding thread.
fn work(shared: &Shared, jobs: &Receiver<Job>) {
    let mut reader = SampleReader::new();
    for Job { slot, row } in jobs {
        if shared.stop.load(Ordering::Relaxed) {
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| make_row(shared, &mut reader, &slot, row)));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => slot.fail(row, error),
            Err(panic) => {
                reader = SampleReader::new();
                slot.fail(row, DataError::Panicked(panic_message(&*panic)));
            }
        }
    }
}

/// Makes one row and settles it. A bad picture's row shows the next good sample of the batch in
/// training, with a crop of its own, and stays absent in evaluation.
fn make_row(
    shared: &Shared,
    reader: &mut SampleReader,
    slot: &Slot,
    row: usize,
) -> Result<(), DataError> {
    let plan = &slot.plan;
    let num_tries = match (shared.on_bad_image, &plan.transform) {
        (OnBadImage::Skip, Transform::Train { .. }) => plan.samples.len(),
        (OnBadImage::Skip, Transform::Eval(_)) | (OnBadImage::Error, _) => 1,
    };
    let mut bad = Vec::new();
    for attempt in 0..num_tries {
        let sample = plan.samples[(row + attempt) % plan.samples.len()];
        let path = shared.folder.path(sample as usize);
        let key = [CROP_STREAM, plan.key, plan.epoch as u64, u64::from(sample), attempt as u64];
        match reader.read(&path, &plan.transform, &mut Rng::keyed(&key)) {
            Ok(pixels) => {
                let label = shared.folder.label(sample as usize) as i64;
                let mut rows = slot.lock();
                rows.buffers.put(row, pixels, label);
                rows.skipped.append(&mut bad);
                slot.settle(rows);
                return Ok(());
            }
            Err(reason) => bad.push((sample, reason.to_string())),
        }
    }
    match (shared.on_bad_image, &plan.transform) {
        (OnBadImage::Skip, Transform::Eval(_)) => {
            let mut rows = slot.lock();
            rows.absent.push(row);
            rows.skipped.append(&mut bad);
            slot.settle(rows);
            Ok(())
        }
        (on_bad_image, _) => {
            let (sample, reason) = bad.pop().expect("a row is tried once at least");
            let path = shared.folder.path(sample as usize);
            let BatchPlan { epoch, step, .. } = *plan;
            Err(match on_bad_image {
                OnBadImage::Error => DataError::BadPicture { path, reason },
                OnBadImage::Skip => DataError::BadBatch { epoch, step, path, reason },
            })
        }
    }
}

fn spawn(name: &str, life: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(life).expect("the system has room for a thread")
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
