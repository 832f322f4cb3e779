//! A finished batch, and the buffers that are recycled between loader and trainer.

use std::sync::Arc;

use bytes::BytesMut;
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::data::order::plan::BatchPlan;

/// Pixels and labels of one batch. A buffer grows to the largest batch seen and never shrinks.
#[derive(Debug, Default)]
pub(in crate::data) struct Buffers {
    pixels: BytesMut,
    labels: Vec<i64>,
    row_len: usize,
}

/// The free buffers. Loaders that share a pool reuse each other's buffers, so a dropped loader
/// leaves its memory to the next one.
#[derive(Clone, Debug)]
pub struct Pool {
    back: Sender<Buffers>,
    pub(in crate::data) free: Receiver<Buffers>,
}

impl Default for Pool {
    fn default() -> Self {
        let (back, free) = unbounded();
        Self { back, free }
    }
}

impl Pool {
    /// A free buffer, or a new one.
    pub(in crate::data) fn take(&self) -> Buffers {
        self.free.try_recv().unwrap_or_default()
    }
}

/// The rows of one buffer. A thread owns a row while it writes the row.
pub(in crate::data) struct OpenRows {
    rows: Vec<BytesMut>,
    labels: Vec<i64>,
    row_len: usize,
}

impl Buffers {
    /// Resizes the buffer to `num_rows` rows of `image_size * image_size` pixels and splits it into
    /// rows.
    pub(in crate::data) fn open(mut self, num_rows: usize, image_size: usize) -> OpenRows {
        self.row_len = image_size * image_size * 3;
        self.pixels.resize(num_rows * self.row_len, 0);
        self.labels.resize(num_rows, 0);
        let mut rows = Vec::with_capacity(num_rows);
        for _ in 1..num_rows {
            rows.push(self.pixels.split_to(self.row_len));
        }
        // Keep the spare capacity at the end.
        rows.push(self.pixels);
        OpenRows { rows, labels: self.labels, row_len: self.row_len }
    }

    fn move_row(&mut self, from: usize, to: usize) {
        self.pixels.copy_within(from * self.row_len..(from + 1) * self.row_len, to * self.row_len);
        self.labels[to] = self.labels[from];
    }
}

impl OpenRows {
    /// Takes a row to write to; [`Self::put`] returns it.
    pub(in crate::data) fn take(&mut self, row: usize) -> BytesMut {
        std::mem::take(&mut self.rows[row])
    }

    pub(in crate::data) fn put(&mut self, row: usize, pixels: BytesMut, label: i64) {
        self.rows[row] = pixels;
        self.labels[row] = label;
    }

    /// Joins the rows into one buffer. They are adjacent, so nothing is copied.
    pub(in crate::data) fn close(&mut self) -> Buffers {
        let mut rows = std::mem::take(&mut self.rows).into_iter();
        let mut pixels = rows.next().unwrap_or_default();
        rows.for_each(|row| pixels.unsplit(row));
        Buffers { pixels, labels: std::mem::take(&mut self.labels), row_len: self.row_len }
    }
}

/// A batch of images. Its buffer goes back to the pool when it is dropped.
pub struct Batch {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Step of the epoch, from 0.
    pub step: usize,
    /// Size of the images, px.
    pub image_size: usize,
    plan: Arc<BatchPlan>,
    num_rows: usize,
    buffers: Buffers,
    pool: Pool,
}

impl Batch {
    pub(in crate::data) fn new(plan: Arc<BatchPlan>, buffers: Buffers, pool: Pool) -> Self {
        let (epoch, step, image_size) = (plan.epoch, plan.step, plan.transform.image_size());
        Self { epoch, step, image_size, num_rows: plan.samples.len(), plan, buffers, pool }
    }

    /// Closes the gaps of empty rows.
    pub(in crate::data) fn without_rows(mut self, absent: &[usize]) -> Self {
        let mut num_cached = 0;
        for row in 0..self.num_rows {
            if !absent.contains(&row) {
                if num_cached != row {
                    self.buffers.move_row(row, num_cached);
                }
                num_cached += 1;
            }
        }
        self.num_rows = num_cached;
        self
    }

    /// The plan of the batch. Row `i` of a training batch shows sample `plan().samples[i]`.
    pub fn plan(&self) -> &BatchPlan {
        &self.plan
    }

    /// Pixels, RGB, row-major `[len, image_size, image_size, 3]`.
    pub fn images(&self) -> &[u8] {
        &self.buffers.pixels[..self.num_rows * self.buffers.row_len]
    }

    /// Labels, `[len]`.
    pub fn labels(&self) -> &[i64] {
        &self.buffers.labels[..self.num_rows]
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.num_rows
    }

    /// Whether there are no images. A loader never returns such a batch.
    pub fn is_empty(&self) -> bool {
        self.num_rows == 0
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // This cannot fail: the batch also holds the receiving end.
        let _ = self.pool.back.send(std::mem::take(&mut self.buffers));
    }
}
