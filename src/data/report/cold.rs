//! Measures how fast a data set is read from a cold page cache, compared with the disk's own rate.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::fs::{Advice, fadvise, fsync};

use crate::data::{
    config::{OnBadImage, TrainTransform},
    error::DataError,
    index::{Index, WHOLE_FILE},
    loader::{Loader, LoaderConfig},
    order::{
        plan::{TrainSchedule, Transform, train_plans},
        sampler::{Sampler, Shard},
    },
    report::bench::BATCH,
};

/// Limit of bytes read sequentially to measure the disk's rate.
const IN_ORDER: u64 = 1 << 30;
const BLOCK: usize = 4 << 20;
/// Threads that read separate files sequentially: a single one would wait for the disk each time.
const NUM_READERS: usize = 16;

/// The measurement.
#[derive(Clone, Copy, Debug)]
pub struct ColdRates {
    /// Number of decoded images.
    pub num_images: usize,
    /// Images per second, none of which was in memory.
    pub images_per_s: f64,
    /// Bytes of their files per second.
    pub bytes_per_s: f64,
    /// Bytes per second when the same files are read from front to back.
    pub disk_bytes_per_s: f64,
}

/// What is read, and how.
#[derive(Clone, Copy, Debug)]
pub struct ColdEpoch {
    /// Crop size, px.
    pub image_size: usize,
    /// The parameters of crops, including the block order.
    pub transform: TrainTransform,
    /// Number of decoding threads.
    pub num_threads: usize,
    /// Number of images, at most one epoch.
    pub num_images: usize,
    /// What else fills the page cache.
    pub ahead: ReadAhead,
}

/// What fills the page cache besides the reads of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ReadAhead {
    /// Nothing.
    #[default]
    Batches,
    /// Archives and shards are streamed from front to back, as at the start of a run.
    Stream,
}

/// Drops the pages of the first training images of an epoch from the page cache, decodes the
/// images, drops the pages again, and reads the files sequentially. Pages that are not on the disk
/// yet are written first.
pub fn measure_cold(index: &Arc<Index>, epoch: &ColdEpoch) -> Result<ColdRates, DataError> {
    let ColdEpoch { image_size, transform, num_threads, num_images, ahead } = *epoch;
    let batch_per_rank = BATCH.min(index.len());
    let steps_per_epoch = (num_images / BATCH).clamp(1, (index.len() / BATCH).max(1));
    let (image_sizes, epochs) = (vec![image_size], 0..1);
    let schedule = TrainSchedule {
        batch_per_rank,
        steps_per_epoch,
        epochs,
        start_step: 0,
        image_sizes,
        transforms: vec![transform],
    };
    let alone = Shard { rank: 0, world_size: 1 };
    let mut sampler = Sampler::new(index.len(), alone, 0);
    if transform.block_shuffle {
        sampler = sampler.in_blocks(index.block_len());
    }
    let order: Vec<u32> = sampler.epoch_order(0)[..steps_per_epoch * batch_per_rank].to_vec();
    let read = index.serving(&Transform::Train { image_size, config: transform });
    let files = files(read, &order);
    let fault = |(path, error): (PathBuf, io::Error)| DataError::Container {
        path,
        reason: error.to_string(),
    };
    drop_pages(&files).map_err(fault)?;
    let config = LoaderConfig {
        num_threads,
        batches_ahead: 4,
        on_bad_image: OnBadImage::Skip,
        warm: (ahead == ReadAhead::Stream).then_some(alone),
        ..LoaderConfig::default()
    };
    let start = Instant::now();
    let mut loader = Loader::start(Arc::clone(index), train_plans(sampler, schedule), config);
    while loader.next_batch()?.is_some() {}
    let wall_s = start.elapsed().as_secs_f64();
    drop(loader);
    drop_pages(&files).map_err(fault)?;
    let disk_bytes_per_s = read_in_order(&files);
    let num_images = order.len();
    Ok(ColdRates {
        num_images,
        images_per_s: num_images as f64 / wall_s,
        bytes_per_s: bytes(read, &order) as f64 / wall_s,
        disk_bytes_per_s,
    })
}

/// The files that hold `order`, sorted by name.
fn files(index: &Index, order: &[u32]) -> Vec<PathBuf> {
    let is_whole = |&sample: &u32| index.columns.flags[sample as usize] & WHOLE_FILE != 0;
    let whole = order.iter().copied().filter(is_whole);
    let mut files: Vec<PathBuf> = whole.map(|sample| index.path(sample as usize)).collect();
    if files.is_empty() {
        files = index.places.iter().map(|(path, _)| path.clone()).collect();
    }
    files.sort_unstable();
    files
}

fn bytes(index: &Index, order: &[u32]) -> u64 {
    let length = |&sample: &u32| match index.columns.lengths[sample as usize] {
        0 => index.path(sample as usize).metadata().map_or(0, |metadata| metadata.len()),
        length => u64::from(length),
    };
    order.iter().map(length).sum()
}

fn drop_pages(files: &[PathBuf]) -> Result<(), (PathBuf, io::Error)> {
    for path in files {
        let dropped = File::open(path).and_then(|file| {
            // Pages that are not on the disk yet stay in memory.
            fsync(&file)?;
            Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
        });
        dropped.map_err(|error| (path.clone(), error))?;
    }
    Ok(())
}

/// Bytes per second.
fn read_in_order(files: &[PathBuf]) -> f64 {
    let (next, num_bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let num_readers = if files.len() > NUM_READERS { NUM_READERS } else { 1 };
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..num_readers {
            scope.spawn(|| {
                let mut block = vec![0; BLOCK];
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if num_bytes.load(Ordering::Relaxed) >= IN_ORDER {
                        return;
                    }
                    let Ok(mut file) = File::open(path) else { continue };
                    while let Ok(num_read @ 1..) = file.read(&mut block) {
                        let before = num_bytes.fetch_add(num_read as u64, Ordering::Relaxed);
                        if before >= IN_ORDER {
                            return;
                        }
                    }
                }
            });
        }
    });
    num_bytes.into_inner() as f64 / start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{config::Split, fixture};

    #[test]
    fn all_cold_files_are_counted() {
        let root = fixture::data_set(30, 1);
        let index = Arc::new(Index::open(root.path(), Split::Train).unwrap());
        let order: Vec<u32> = (0..index.len() as u32).collect();
        let expected = bytes(&index, &order) as f64 / index.len() as f64;
        for (block_shuffle, ahead) in [(false, ReadAhead::Batches), (true, ReadAhead::Stream)] {
            let transform = TrainTransform { block_shuffle, ..TrainTransform::default() };
            let epoch =
                ColdEpoch { image_size: 16, transform, num_threads: 2, num_images: 64, ahead };
            let rates = measure_cold(&index, &epoch).unwrap();
            assert_eq!(rates.num_images, 64);
            let mean = rates.bytes_per_s / rates.images_per_s;
            assert!((0.8..1.25).contains(&(mean / expected)), "{mean} bytes per file");
            assert!(rates.disk_bytes_per_s > 0.0);
        }
    }
}
