//! Whether the trainer waits for data: the time it waits for batches, and what the loader's threads
//! did meanwhile. This costs two clock readings per sample.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Waits below this fraction of the time are negligible.
const NEGLIGIBLE: f64 = 0.02;

/// Sums over the threads of a loader.
#[derive(Debug, Default)]
pub(in crate::data) struct Clock {
    read_ns: AtomicU64,
    decode_ns: AtomicU64,
}

impl Clock {
    pub(in crate::data) fn add(&self, [read, decode]: [Duration; 2]) {
        self.read_ns.fetch_add(read.as_nanos() as u64, Ordering::Relaxed);
        self.decode_ns.fetch_add(decode.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(in crate::data) fn read(&self) -> LoaderStats {
        let seconds = |ns: &AtomicU64| ns.load(Ordering::Relaxed) as f64 * 1e-9;
        let (read_s, decode_s) = (seconds(&self.read_ns), seconds(&self.decode_ns));
        LoaderStats { wait_s: 0.0, read_s, decode_s }
    }
}

/// Where a loader's time went, s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoaderStats {
    /// Time the trainer waited for a batch.
    pub wait_s: f64,
    /// Time the threads read files, summed over the threads.
    pub read_s: f64,
    /// Time the threads decoded and resized, summed over the threads.
    pub decode_s: f64,
}

/// The bottleneck of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Compute (the trainer itself).
    Compute,
    /// The disk.
    Reading,
    /// The CPU (decoding).
    Decoding,
}

impl LoaderStats {
    /// The difference between two readings.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            wait_s: self.wait_s - before.wait_s,
            read_s: self.read_s - before.read_s,
            decode_s: self.decode_s - before.decode_s,
        }
    }

    /// The sum of two readings.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            wait_s: self.wait_s + other.wait_s,
            read_s: self.read_s + other.read_s,
            decode_s: self.decode_s + other.decode_s,
        }
    }

    /// Seconds that the trainer waited for the disk: its waits, split in proportion to the threads'
    /// time.
    pub fn io_wait_s(&self) -> f64 {
        let busy = self.read_s + self.decode_s;
        if busy > 0.0 { self.wait_s * self.read_s / busy } else { 0.0 }
    }

    /// Seconds that the trainer waited for decoding.
    pub fn decode_wait_s(&self) -> f64 {
        self.wait_s - self.io_wait_s()
    }

    /// The bottleneck of `total_s` seconds of training.
    pub fn bound(&self, total_s: f64) -> Bound {
        if self.wait_s <= NEGLIGIBLE * total_s {
            Bound::Compute
        } else if self.read_s > self.decode_s {
            Bound::Reading
        } else {
            Bound::Decoding
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_attributed_to_what_the_threads_did() {
        let stats = LoaderStats { wait_s: 4.0, read_s: 9.0, decode_s: 3.0 };
        assert_eq!((stats.io_wait_s(), stats.decode_wait_s()), (3.0, 1.0));
        assert_eq!(stats.bound(10.0), Bound::Reading);
        let stats = LoaderStats { wait_s: 4.0, read_s: 1.0, decode_s: 3.0 };
        assert_eq!(stats.bound(10.0), Bound::Decoding);
        assert_eq!(stats.bound(1000.0), Bound::Compute);
        let later = LoaderStats { wait_s: 5.0, read_s: 2.0, decode_s: 7.0 };
        assert_eq!(later.since(&stats), LoaderStats { wait_s: 1.0, read_s: 1.0, decode_s: 4.0 });
        assert_eq!(later.since(&stats).plus(&stats), later);
        assert!(LoaderStats::default().io_wait_s().abs() < 1e-12, "no time, no wait");
    }
}
