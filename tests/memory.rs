//! The loader takes no memory for a sample once its buffers have grown, and none over many epochs.
//! A program of its own, as it counts what every thread allocates; one test at a time.
//!
//! libjpeg's own memory is not Rust's and not counted.

#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use mlperf_run::data::import::{Import, import};
use mlperf_run::data::{
    Augmentation, AugmentationSet, Batch, Cache, EvalTransform, Index, Interpolation, Loader,
    LoaderConfig, Pool, RamCache, Sampler, Shard, Sharing, Split, TrainSchedule, TrainTransform,
    eval_plans, train_plans,
};
use turbojpeg::{Compressor, Image, PixelFormat};

struct Counting;

static NUM_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work; counting changes nothing about it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        NUM_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NUM_IMAGES: usize = 256;
const BATCH: usize = 64;

const SHARD: Shard = Shard { rank: 0, world_size: 1 };

/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::new(());

/// Images of different sizes, so that buffers have to grow, as training and validation set.
fn write_images(root: &Path) {
    let pixels: Vec<u8> = (0..96 * 96 * 3).map(|i| (i * 7 % 251) as u8).collect();
    for i in 0..NUM_IMAGES {
        let (width, height) = (96 - i % 32, 64 + i % 32);
        let (pixels, format) = (&pixels[..width * height * 3], PixelFormat::RGB);
        let image = Image { pixels, width, pitch: width * 3, height, format };
        let jpeg = Compressor::new().unwrap().compress_to_vec(image).unwrap();
        for split in ["train", "val"] {
            let folder = root.join(split).join(format!("class{}", i % 2));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{i:04}.jpg")), &jpeg).unwrap();
        }
    }
}

#[test]
fn a_sample_costs_no_allocation_after_the_first_epoch() {
    let _alone = ALONE.lock().unwrap();
    let root = tempfile::tempdir().unwrap();
    write_images(root.path());
    let index = Arc::new(Index::open(root.path(), Split::Train).unwrap());
    for interpolation in [
        Interpolation::Area,
        Interpolation::Bilinear,
        Interpolation::Bicubic,
        Interpolation::Nearest,
    ] {
        let transform = TrainTransform { interpolation, ..TrainTransform::default() };
        count(&index, transform, LoaderConfig::default());
    }
    let augmentation = Augmentation { depth: 3, severity: 9, set: AugmentationSet::All };
    let augmented =
        TrainTransform { augmentation: Some(augmentation), ..TrainTransform::default() };
    count(&index, augmented, LoaderConfig::default());
}

/// Whose images are cut down before they are decoded, decoded at a fraction, or not at all.
#[test]
fn a_sample_of_a_store_or_of_the_cache_costs_no_allocation_either() {
    let _alone = ALONE.lock().unwrap();
    let (root, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_images(root.path());
    let request = Import { seed: 1, ..Import::of(root.path()) };
    import(&request, out.path(), 1, &|_| ControlFlow::Continue(())).unwrap();
    let index = Arc::new(Index::open(out.path(), Split::Train).unwrap());
    let plain = TrainTransform::default();
    for transform in [
        plain,
        TrainTransform { dct_scale: true, ..plain },
        TrainTransform { block_shuffle: true, ..plain },
    ] {
        count(&index, transform, LoaderConfig::default());
    }
    let cache = Cache::open(RamCache::Bytes(64 << 20), index.len(), Sharing::Alone).unwrap();
    let config = LoaderConfig { cache: cache.map(Arc::new), ..LoaderConfig::default() };
    count(&index, plain, config);
}

/// A loader of so many epochs.
fn train(
    index: &Arc<Index>,
    num_epochs: usize,
    (transform, config): (TrainTransform, LoaderConfig),
) -> Loader {
    let schedule = TrainSchedule {
        batch_per_rank: BATCH,
        steps_per_epoch: NUM_IMAGES / BATCH,
        epochs: 0..num_epochs,
        start_step: 0,
        image_sizes: vec![32; num_epochs],
        transforms: vec![transform; num_epochs],
    };
    let mut sampler = Sampler::new(index.len(), SHARD, 1);
    if transform.block_shuffle {
        sampler = sampler.in_blocks(index.block_len());
    }
    let config = LoaderConfig { num_threads: 2, ..config };
    Loader::start(Arc::clone(index), train_plans(sampler, schedule), config)
}

fn count(index: &Arc<Index>, transform: TrainTransform, config: LoaderConfig) {
    let has_cache = config.cache.is_some();
    let mut loader = train(index, 8, (transform, config));
    let steps_per_epoch = NUM_IMAGES / BATCH;
    let mut epoch = || {
        let before = NUM_ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..steps_per_epoch {
            drop(loader.next_batch().expect("good images").expect("a batch"));
        }
        NUM_ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    let counts: Vec<usize> = (0..7).map(|_| epoch()).collect();
    // A batch has a plan, a slot and lists of its rows: a dozen allocations, whatever its size.
    let limit = 16 * steps_per_epoch;
    assert!(
        counts[4..].iter().all(|&count| count <= limit),
        "{transform:?}, cache {has_cache}: {counts:?}, limit {limit}"
    );
}

/// Epochs as a run has them: one loader for training, a new one for each evaluation.
#[test]
fn memory_does_not_grow_over_fifty_epochs() {
    const NUM_EPOCHS: usize = 50;
    /// While buffers still grow.
    const NUM_EARLY: usize = 10;
    const LIMIT_KB: f64 = 4096.0;
    let _alone = ALONE.lock().unwrap();
    let root = tempfile::tempdir().unwrap();
    write_images(root.path());
    let index = |split| Arc::new(Index::open(root.path(), split).unwrap());
    let (train_index, eval_index) = (index(Split::Train), index(Split::Eval));
    let pool = Pool::default();
    // How many buffers a run comes to need depends on who is faster; more than these it cannot.
    let held: Vec<_> = (0..2).flat_map(|_| evaluate(&eval_index, &pool)).collect();
    drop(held);
    let config = LoaderConfig { pool: pool.clone(), ..LoaderConfig::default() };
    let mut loader = train(&train_index, NUM_EPOCHS, (TrainTransform::default(), config));
    let mut sizes_kb = Vec::new();
    for _ in 0..NUM_EPOCHS {
        for _ in 0..NUM_IMAGES / BATCH {
            drop(loader.next_batch().expect("good images").expect("a batch"));
        }
        evaluate(&eval_index, &pool).for_each(drop);
        sizes_kb.push(resident_kb());
    }
    let grown_kb = slope(&sizes_kb[NUM_EARLY..]) * (NUM_EPOCHS - NUM_EARLY) as f64;
    assert!(grown_kb < LIMIT_KB, "grown by {grown_kb:.0} kB: {sizes_kb:?}");
}

/// Batches of an evaluation by a loader of its own.
fn evaluate(index: &Arc<Index>, pool: &Pool) -> impl Iterator<Item = Batch> + use<> {
    let sampler = Sampler::new(index.len(), SHARD, 1);
    let eval = EvalTransform { resize_size: 184, crop_size: 160, ..EvalTransform::default() };
    let plans = eval_plans(&sampler, BATCH, eval);
    let config = LoaderConfig { pool: pool.clone(), ..LoaderConfig::default() };
    let mut loader = Loader::start(Arc::clone(index), plans, config);
    std::iter::from_fn(move || loader.next_batch().expect("good images"))
}

/// Memory of this process that is backed by no file, kB.
fn resident_kb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Of the line through `values` that fits best, by step.
fn slope(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let (mean_x, mean_y) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let from_mean = |(x, y): (usize, &f64)| (x as f64 - mean_x, y - mean_y);
    let sums = values
        .iter()
        .enumerate()
        .map(from_mean)
        .fold((0.0, 0.0), |(xy, xx), (x, y)| (x.mul_add(y, xy), x.mul_add(x, xx)));
    sums.0 / sums.1
}
