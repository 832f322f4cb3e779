//! Readahead: announces reads to the system, so that the disk works while other threads decode.
//!
//! - Spans of archives and shards: by `posix_fadvise`, at about 2 us a sample, without a thread or
//!   a copy.
//! - Separate files: they must be opened first, which waits for the disk. A pool of mostly sleeping
//!   threads does this.
//! - Blocks of samples that are needed soon, if the order keeps neighbours together.
//! - At the start of a run, archives and shards are streamed from front to back if they fit into
//!   memory, so that the first epoch fills the page cache at the disk's full rate. Each rank of a
//!   machine streams a part.

use std::{
    fs::File,
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::fs::{Advice, fadvise};

use crate::data::{
    dataset::span_reader::open_once,
    index::{Index, WHOLE_FILE},
    loader::{cache::Cache, memory},
    order::{plan::BatchPlan, sampler::Shard},
};

/// Files opened at the same time: as many as a disk's queue takes.
const NUM_OPENERS: usize = 32;
/// Bytes that a rank streams in one piece.
const PIECE: u64 = 8 << 20;
/// Bytes per read. Short reads leave the disk to others in between.
const CHUNK: usize = 1 << 20;

/// The threads that read ahead. Dropping it stops them.
pub(in crate::data) struct Readahead {
    index: Arc<Index>,
    stop: Arc<AtomicBool>,
    files: Option<Sender<u32>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readahead {
    /// Starts the threads that `index` needs. `warm` is this rank's part of the files.
    pub(in crate::data) fn start(index: &Arc<Index>, warm: Option<Shard>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let has_files = index.columns.flags.iter().any(|flags| flags & WHOLE_FILE != 0);
        let (sender, receiver) = unbounded();
        let mut threads = Vec::new();
        for _ in 0..if has_files { NUM_OPENERS } else { 0 } {
            let (index, receiver, stop) = (Arc::clone(index), receiver.clone(), Arc::clone(&stop));
            threads.push(spawn("ahead", move || open_files(&index, &receiver, &stop)));
        }
        if let Some(part) = warm.filter(|_| !has_files) {
            let (index, stop) = (Arc::clone(index), Arc::clone(&stop));
            threads.push(spawn("warm", move || stream(&index, part, &stop)));
        }
        let files = has_files.then_some(sender);
        Self { index: Arc::clone(index), stop, files, threads }
    }

    /// Announces the samples of a batch that are not in the cache, and the blocks after it.
    pub(in crate::data) fn advise(&self, plan: &BatchPlan, cache: Option<&Cache>) {
        let index = self.index.serving(&plan.transform);
        for block in &plan.prefetch {
            self.advise_block(index, block.clone());
        }
        for &sample in &plan.samples {
            if cache.is_none_or(|cache| cache.find(index.key(sample as usize)).is_none()) {
                self.advise_sample(index, sample);
            }
        }
    }

    fn advise_sample(&self, index: &Index, sample: u32) {
        let columns = &index.columns;
        // The reader reports missing samples.
        let Some(flags) = columns.flags.get(sample as usize) else { return };
        match &self.files {
            Some(files) if flags & WHOLE_FILE != 0 => drop(files.send(sample)),
            _ => {
                let i = sample as usize;
                advise_span((index, i), columns.offsets[i], u64::from(columns.lengths[i]));
            }
        }
    }

    /// Announces neighbours in a file by a single call.
    fn advise_block(&self, index: &Index, block: Range<u32>) {
        let columns = &index.columns;
        let end = |i: usize| columns.offsets[i] + u64::from(columns.lengths[i]);
        let mut samples = (block.start as usize)..(block.end as usize).min(index.len());
        while let Some(first) = samples.next() {
            if columns.flags[first] & WHOLE_FILE != 0 {
                self.advise_sample(index, first as u32);
                continue;
            }
            let mut last = first;
            while let Some(next) = samples.clone().next().filter(|&next| {
                columns.places[next] == columns.places[last] && columns.offsets[next] >= end(last)
            }) {
                last = next;
                samples.next();
            }
            let length = end(last) - columns.offsets[first];
            advise_span((index, first), columns.offsets[first], length);
        }
    }
}

/// Announces a span of the file that holds sample `i`.
fn advise_span((index, i): (&Index, usize), offset: u64, length: u64) {
    let Some(length) = NonZeroU64::new(length) else { return };
    // The read that follows reports errors.
    let Ok(Some(file)) = open_once(index, i) else { return };
    let _ = fadvise(file, offset, Some(length), Advice::WillNeed);
}

impl Drop for Readahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.files = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Main function of a thread that opens files and announces them.
fn open_files(index: &Index, files: &Receiver<u32>, stop: &AtomicBool) {
    let mut path = PathBuf::new();
    for sample in files {
        if stop.load(Ordering::Relaxed) {
            continue;
        }
        index.path_into(sample as usize, &mut path);
        if let Ok(file) = File::open(&path) {
            let _ = fadvise(&file, 0, None, Advice::WillNeed);
        }
    }
}

/// Streams this rank's part of the files, if all of them fit into memory.
fn stream(index: &Index, part: Shard, stop: &AtomicBool) {
    let places = index.stores().flat_map(|store| &store.places);
    let files: Vec<_> = places.map(|(path, _)| File::open(path)).collect();
    let lengths = files.iter().flatten().filter_map(|file| file.metadata().ok());
    let total: u64 = lengths.map(|metadata| metadata.len()).sum();
    if total > memory::available() / 10 * 7 {
        return;
    }
    let (mut piece, mut scratch) = (0, vec![0; CHUNK]);
    for file in files.into_iter().flatten() {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        for start in (0..length).step_by(PIECE as usize) {
            piece += 1;
            if piece % part.world_size != part.rank {
                continue;
            }
            let end = length.min(start + PIECE);
            for at in (start..end).step_by(CHUNK) {
                let chunk = &mut scratch[..CHUNK.min((end - at) as usize)];
                // The thread that needs an unreadable file reports it.
                if stop.load(Ordering::Relaxed) || file.read_exact_at(chunk, at).is_err() {
                    return;
                }
            }
        }
    }
}

/// Starts a thread of the loader.
pub(in crate::data) fn spawn<T: Send + 'static>(
    name: &str,
    life: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(life).expect("the system can start a thread")
}
