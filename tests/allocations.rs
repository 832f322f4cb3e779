//! The loader takes no memory for a sample once its buffers have grown. A program of its own, as
//! it counts what every thread allocates. libjpeg's own memory is not Rust's and not counted.

#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlperf_run::data::{
    Index, Interpolation, Loader, LoaderConfig, Sampler, Shard, Split, TrainSchedule,
    TrainTransform, train_plans,
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

const NUM_PICTURES: usize = 256;
const BATCH: usize = 64;

#[test]
fn a_sample_costs_no_allocation_after_the_first_epoch() {
    let root = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..96 * 96 * 3).map(|i| (i * 7 % 251) as u8).collect();
    for i in 0..NUM_PICTURES {
        // Different sizes, so that buffers have to grow.
        let (width, height) = (96 - i % 32, 64 + i % 32);
        let (pixels, format) = (&pixels[..width * height * 3], PixelFormat::RGB);
        let image = Image { pixels, width, pitch: width * 3, height, format };
        let jpeg = Compressor::new().unwrap().compress_to_vec(image).unwrap();
        let folder = root.path().join("train").join(format!("class{}", i % 2));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{i:04}.jpg")), jpeg).unwrap();
    }
    let index = Arc::new(Index::open(root.path(), Split::Train).unwrap());
    for interpolation in [
        Interpolation::Area,
        Interpolation::Bilinear,
        Interpolation::Bicubic,
        Interpolation::Nearest,
    ] {
        count(&index, interpolation);
    }
}

fn count(index: &Arc<Index>, interpolation: Interpolation) {
    let shard = Shard { rank: 0, world_size: 1 };
    let steps_per_epoch = NUM_PICTURES / BATCH;
    let schedule = TrainSchedule {
        batch_per_rank: BATCH,
        steps_per_epoch,
        epochs: 0..8,
        sides: vec![32; 8],
        transform: TrainTransform { interpolation, ..TrainTransform::default() },
    };
    let plans = train_plans(Sampler::new(index.len(), shard, 1), schedule);
    let config = LoaderConfig { num_threads: 2, ..LoaderConfig::default() };
    let mut loader = Loader::start(Arc::clone(index), plans, config);
    let mut epoch = || {
        let before = NUM_ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..steps_per_epoch {
            drop(loader.next_batch().expect("good pictures").expect("a batch"));
        }
        NUM_ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    let counts: Vec<usize> = (0..7).map(|_| epoch()).collect();
    // A batch has a plan, a slot and lists of its rows: a dozen allocations, whatever its size.
    let limit = 16 * steps_per_epoch;
    assert!(
        counts[4..].iter().all(|&count| count <= limit),
        "{interpolation:?}: {counts:?}, limit {limit}"
    );
}
