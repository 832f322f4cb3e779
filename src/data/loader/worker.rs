//! The worker threads that turn samples into rows.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::BytesMut;
use crossbeam_channel::Receiver;

use crate::data::{
    config::OnBadImage,
    error::{DataError, is_of_machine},
    image::pixels::DecodeError,
    index::Index,
    loader::{
        batch::Pool,
        cache::Cache,
        sample::SampleReader,
        slot::{Made, Slot},
        stats::Clock,
    },
    order::plan::{BatchPlan, Transform},
};

/// State shared by the threads of a loader.
pub(super) struct Shared {
    pub(super) index: Arc<Index>,
    pub(super) on_bad_image: OnBadImage,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) stop: AtomicBool,
    /// Time that the threads spend reading and decoding.
    pub(super) clock: Clock,
    pub(super) pool: Pool,
}

/// One row to make, and its destination.
pub(super) struct Job {
    pub(super) slot: Arc<Slot>,
    pub(super) row: usize,
    pub(super) pixels: BytesMut,
}

/// Makes rows until there are no more jobs.
pub(super) fn run_worker(shared: &Shared, jobs: &Receiver<Job>) {
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

/// Makes one row. If an image is bad, the row shows the next good sample of the batch with its own
/// crop in training, and stays empty in evaluation.
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
        match reader.read(
            from,
            (&plan.transform_of(sample), &mut plan.rng(sample, attempt)),
            pixels,
        ) {
            Ok(()) => {
                made = Some(Made::DecodedImage(index.label(sample as usize) as i64));
                break;
            }
            Err(DecodeError::Read(source)) if is_of_machine(&source) => {
                let path = index.path(sample as usize);
                return Err(DataError::Unreadable { path, source });
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
            let (sample, reason) = bad.pop().expect("a row is tried at least once");
            let path = index.path(sample as usize);
            let BatchPlan { epoch, step, .. } = **plan;
            Err(match on_bad_image {
                OnBadImage::Error => DataError::BadImage { path, reason },
                OnBadImage::Skip => DataError::BadBatch { epoch, step, path, reason },
            })
        }
    }
}

pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
