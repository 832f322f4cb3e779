//! A batch while its rows are being made.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

use crate::data::{
    error::DataError,
    loader::batch::{Buffers, OpenRows},
    order::plan::BatchPlan,
};

/// A batch in progress.
pub(super) struct Slot {
    pub(super) plan: Arc<BatchPlan>,
    pub(super) rows: Mutex<Rows>,
    pub(super) done: Condvar,
}

pub(super) struct Rows {
    pub(super) open: OpenRows,
    pub(super) num_left: usize,
    /// Rows that evaluation leaves out.
    pub(super) absent: Vec<usize>,
    pub(super) skipped: Vec<(u32, String)>,
    /// The error of the first row that failed.
    pub(super) failed: Option<(usize, DataError)>,
}

/// The result of making a row.
pub(super) enum Made {
    /// An image with this label.
    DecodedImage(i64),
    /// No image: evaluation leaves bad images out.
    Absent,
}

impl Slot {
    pub(super) fn new(plan: BatchPlan, buffers: Buffers) -> Self {
        let (num_rows, image_size) = (plan.samples.len(), plan.transform.image_size());
        let rows = Rows {
            open: buffers.open(num_rows, image_size),
            num_left: num_rows,
            absent: Vec::new(),
            skipped: Vec::new(),
            failed: None,
        };
        Self { plan: Arc::new(plan), rows: Mutex::new(rows), done: Condvar::new() }
    }

    /// Sleeps until all rows are done.
    pub(super) fn wait(&self) -> MutexGuard<'_, Rows> {
        let rows = self.lock();
        let settled = self.done.wait_while(rows, |rows| rows.num_left > 0);
        settled.unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows stay valid if a thread panics in between, because each row is completed separately.
    pub(super) fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records images that were left out.
    pub(super) fn skip(&self, bad: Vec<(u32, String)>) {
        if !bad.is_empty() {
            self.lock().skipped.extend(bad);
        }
    }

    /// Takes a finished row back.
    pub(super) fn settle(&self, job_row: usize, pixels: BytesMut, made: Result<Made, DataError>) {
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
