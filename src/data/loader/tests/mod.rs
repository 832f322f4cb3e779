//! Tests of the loader with real threads and files.

use std::{collections::HashSet, fs, ops::ControlFlow, path::Path, sync::Arc};

use crate::data::{
    Batch, BatchPlan, Cache, DataError, EvalTransform, Flip, Geometry, Index, Interpolation,
    Loader, LoaderConfig, OnBadImage, RamCache, Sampler, Shard, Sharing, Split, TrainSchedule,
    TrainTransform, Transform, eval_plans,
    fixture::{data_set, mirrored, write},
    image::{decode::Decoder, pixels::DecodedImage},
    import::{Import, import as import_set},
    train_plans,
};

mod batches;
mod faults;

const SHARD: Shard = Shard { rank: 0, world_size: 1 };
const TRANSFORM: TrainTransform = TrainTransform {
    scale: [0.3, 1.0],
    ratio: [0.75, 1.3],
    interpolation: Interpolation::Area,
    hflip: 0.5,
    flip: Flip::Random,
    augmentation: None,
    dct_scale: false,
    block_shuffle: false,
    ram_cache: RamCache::Off,
    store_scale: 2.0,
};
const EVAL: EvalTransform = EvalTransform {
    resize_size: 18,
    crop_size: 16,
    geometry: Geometry::Ffcv,
    interpolation: Interpolation::Area,
};

/// A batch as plain values.
#[derive(Debug, PartialEq)]
struct Seen {
    epoch: usize,
    step: usize,
    image_size: usize,
    images: Vec<u8>,
    labels: Vec<i64>,
}

impl Seen {
    fn of(batch: &Batch) -> Self {
        let (images, labels) = (batch.images().to_vec(), batch.labels().to_vec());
        Self { epoch: batch.epoch, step: batch.step, image_size: batch.image_size, images, labels }
    }
}

fn config(num_threads: usize, on_bad_image: OnBadImage) -> LoaderConfig {
    LoaderConfig { num_threads, on_bad_image, ..LoaderConfig::default() }
}

fn open(root: &Path, split: Split) -> Arc<Index> {
    Arc::new(Index::open(root, split).unwrap())
}

/// Three epochs of batches of four, with image sizes 16, 24 and 16.
fn train_loader(folder: &Arc<Index>, config: LoaderConfig) -> Loader {
    train_loader_from((0, 0), folder, config)
}

/// The same, starting at a step of an epoch.
fn train_loader_from(
    (epoch, step): (usize, usize),
    folder: &Arc<Index>,
    config: LoaderConfig,
) -> Loader {
    let sampler = Sampler::new(folder.len(), SHARD, 7);
    let schedule = TrainSchedule {
        batch_per_rank: 4,
        steps_per_epoch: folder.len() / 4,
        epochs: epoch..3,
        start_step: step,
        image_sizes: vec![16, 24, 16],
        transforms: vec![TRANSFORM; 3],
    };
    Loader::start(Arc::clone(folder), train_plans(sampler, schedule), config)
}

fn eval_loader(folder: &Arc<Index>, shard: Shard, config: LoaderConfig) -> Loader {
    let sampler = Sampler::new(folder.len(), shard, 7);
    Loader::start(Arc::clone(folder), eval_plans(&sampler, 4, EVAL), config)
}

fn drain(loader: &mut Loader) -> Vec<Seen> {
    std::iter::from_fn(|| loader.next_batch().unwrap().map(|batch| Seen::of(&batch))).collect()
}

/// Damages sample `i`'s file; returns its path.
fn damage(folder: &Index, i: usize) -> std::path::PathBuf {
    let path = folder.path(i);
    fs::write(&path, b"GIF89a").unwrap();
    path
}
