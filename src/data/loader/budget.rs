//! How much memory a run needs on a machine, estimated before it is allocated. Arithmetic only.

use std::fmt;

use crate::data::{config::RamCache, error::DataError, loader::memory::Free};

/// Scratch memory of a decoding thread: the file, the decoded part of the image (a few megapixels
/// at most) and the resize tables.
const SCRATCH_BYTES: u64 = 4 << 20;

/// Batches in pinned memory that are being copied to the GPU or have been copied. The host runs at
/// most this many batches ahead of the device.
pub const NUM_PINNED_BATCHES: usize = 3;

/// Settings of the loaders of a machine's ranks.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Ranks on the machine.
    pub num_ranks: usize,
    /// Decoding threads per rank.
    pub num_threads: usize,
    /// Batches per rank that are prefetched or being trained on.
    pub num_batches: usize,
    /// Size of the largest batch of each of a rank's loaders, together, bytes: they are all full while a
    /// run evaluates.
    pub batch_bytes: u64,
    /// The index (spans of all images), of which each rank has a copy.
    pub index_bytes: u64,
    /// The cache of decoded images, which the ranks share.
    pub ram_cache: RamCache,
}

/// Memory that the loaders need, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    num_ranks: u64,
    batches: u64,
    scratch: u64,
    index: u64,
    images: u64,
    free: Free,
}

impl Need {
    /// The budget on a machine with `free` memory.
    pub fn budget(&self, free: Free) -> Budget {
        let mut budget = Budget {
            num_ranks: self.num_ranks as u64,
            batches: self.num_batches as u64 * self.batch_bytes,
            scratch: self.num_threads as u64 * SCRATCH_BYTES,
            index: self.index_bytes,
            images: 0,
            free,
        };
        budget.images = match self.ram_cache {
            RamCache::Off => 0,
            RamCache::Auto => free.for_images().min(budget.free_for_images()),
            RamCache::Bytes(bytes) => bytes,
        };
        budget
    }
}

impl Budget {
    fn of_ranks(&self) -> u64 {
        self.num_ranks * (self.batches + self.scratch + self.index)
    }

    /// Memory left for images after everything else.
    fn free_for_images(&self) -> u64 {
        let Free { memory, shared } = self.free;
        // If the free memory is unknown, use the free space for in-memory files.
        let left = if memory == 0 { shared } else { memory.saturating_sub(self.of_ranks()) };
        left.min(shared)
    }

    /// Rejects a cache of images that is larger than the memory left after everything else.
    pub fn check(&self) -> Result<(), DataError> {
        let free = self.free_for_images();
        if self.images > free {
            let [wanted, free] = [self.images, free].map(size);
            return Err(DataError::CacheMemory { wanted, free });
        }
        Ok(())
    }
}

/// One line for the user.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [batches, scratch, index] = [self.batches, self.scratch, self.index].map(size);
        let ranks = if self.num_ranks == 1 { "rank" } else { "ranks" };
        let num_ranks = self.num_ranks;
        write!(f, "{num_ranks} {ranks} x ({batches} of batches, {scratch} for threads, ")?;
        write!(f, "{index} of index)")?;
        if self.images > 0 {
            write!(f, ", {} of decoded images", size(self.images))?;
        }
        let free = self.free.memory;
        if free > 0 {
            write!(f, "; {} free", size(free))?;
            if self.of_ranks() + self.images > free {
                write!(
                    f,
                    ", which is not enough; lower data.batches_ahead or the number of ranks"
                )?;
            }
        }
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e9 => format!("{:.1} GB", bytes / 1e9),
        bytes if bytes >= 1e7 => format!("{:.0} MB", bytes / 1e6),
        bytes => format!("{:.1} MB", bytes / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn need(ram_cache: RamCache) -> Need {
        Need {
            num_ranks: 8,
            num_threads: 8,
            num_batches: 3,
            batch_bytes: 50_000_000,
            index_bytes: 82_000_000,
            ram_cache,
        }
    }

    #[test]
    fn a_budget_is_one_line() {
        let free = Free { memory: 512 * GB, shared: 256 * GB };
        let budget = need(RamCache::Bytes(64 * GB)).budget(free);
        assert_eq!(
            budget.to_string(),
            "8 ranks x (150 MB of batches, 34 MB for threads, 82 MB of index), 64.0 GB of decoded \
             images; 512.0 GB free"
        );
        let little = need(RamCache::Off).budget(Free { memory: GB, ..free }).to_string();
        assert!(
            little.ends_with(
                "1.0 GB free, which is not enough; lower data.batches_ahead or the \
                                  number of ranks"
            ),
            "{little}"
        );
    }

    #[test]
    fn a_cache_must_fit_into_the_memory_left_by_the_loaders() {
        let check = |bytes, memory, shared| {
            need(RamCache::Bytes(bytes)).budget(Free { memory, shared }).check()
        };
        assert!(check(60 * GB, 64 * GB, 64 * GB).is_ok());
        let error = check(63 * GB, 64 * GB, 64 * GB).unwrap_err().to_string();
        assert!(
            error.contains("asks for 63.0 GB") && error.contains("only 61.9 GB is free"),
            "{error}"
        );
        assert!(check(60 * GB, 64 * GB, 32 * GB).is_err(), "in-memory files have a limit");
        assert!(check(GB, 0, 2 * GB).is_ok(), "the machine's memory is unknown");
        let auto = need(RamCache::Auto).budget(Free { memory: 100 * GB, shared: 50 * GB });
        assert_eq!(auto.images, 35 * GB);
        assert!(auto.check().is_ok());
        let little = need(RamCache::Auto).budget(Free { memory: 3 * GB, shared: 3 * GB });
        assert!(
            little.check().is_ok() && little.images < GB,
            "auto is limited to the available memory"
        );
    }
}
