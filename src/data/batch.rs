//! A finished batch, and the buffers that go round between loader and trainer.

use crossbeam_channel::Sender;

use super::BatchPlan;

/// Pixels and labels of one batch. Grows to the largest batch seen and stays there.
#[derive(Default)]
pub(super) struct Buffers {
    pixels: Vec<u8>,
    labels: Vec<i64>,
    row_len: usize,
}

impl Buffers {
    /// Makes room for `num_rows` rows of `side * side` pixels.
    pub(super) fn reserve_rows(&mut self, num_rows: usize, side: usize) {
        self.row_len = side * side * 3;
        // Never shrunk, so that a short batch does not make the next one clear memory again.
        self.pixels.resize(self.pixels.len().max(num_rows * self.row_len), 0);
        self.labels.resize(self.labels.len().max(num_rows), 0);
    }

    pub(super) fn put(&mut self, row: usize, pixels: &[u8], label: i64) {
        self.pixels[row * self.row_len..][..self.row_len].copy_from_slice(pixels);
        self.labels[row] = label;
    }

    fn move_row(&mut self, from: usize, to: usize) {
        self.pixels.copy_within(from * self.row_len..(from + 1) * self.row_len, to * self.row_len);
        self.labels[to] = self.labels[from];
    }
}

/// A batch of pictures. Its buffer goes back to the loader when it is dropped.
pub struct Batch {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Step of the epoch, from 0.
    pub step: usize,
    /// Side of the pictures, px.
    pub side: usize,
    num_rows: usize,
    buffers: Buffers,
    pool: Sender<Buffers>,
}

impl Batch {
    pub(super) fn new(plan: &BatchPlan, buffers: Buffers, pool: Sender<Buffers>) -> Self {
        let (epoch, step, side) = (plan.epoch, plan.step, plan.transform.side());
        Self { epoch, step, side, num_rows: plan.samples.len(), buffers, pool }
    }

    /// Closes the gaps of rows that hold nothing.
    pub(super) fn without_rows(mut self, absent: &[usize]) -> Self {
        let mut num_kept = 0;
        for row in 0..self.num_rows {
            if !absent.contains(&row) {
                if num_kept != row {
                    self.buffers.move_row(row, num_kept);
                }
                num_kept += 1;
            }
        }
        self.num_rows = num_kept;
        self
    }

    /// Pixels, RGB, row-major `[len, side, side, 3]`.
    pub fn images(&self) -> &[u8] {
        &self.buffers.pixels[..self.num_rows * self.buffers.row_len]
    }

    /// Labels, `[len]`.
    pub fn labels(&self) -> &[i64] {
        &self.buffers.labels[..self.num_rows]
    }

    /// Pictures.
    pub fn len(&self) -> usize {
        self.num_rows
    }

    /// Whether no picture is left: all of them were bad.
    pub fn is_empty(&self) -> bool {
        self.num_rows == 0
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // The loader may be gone; then the buffer goes as well.
        let _ = self.pool.send(std::mem::take(&mut self.buffers));
    }
}
