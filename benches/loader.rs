//! Images per second of one decoding thread, from file to row, for photo-like 4:2:0 JPEGs with a
//! long side of about 500 px: `cargo bench --no-default-features --bench loader`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use mlperf_run::data::bench::index_cost;
use mlperf_run::data::{
    Augmentation, AugmentationSet, Index, Interpolation, Loader, LoaderConfig, Sampler, Shard,
    Split, SynthConfig, TrainSchedule, TrainTransform, synth, train_plans,
};
use tempfile::TempDir;

const NUM_IMAGES: usize = 96;

fn main() {
    let folder = tempfile::tempdir().expect("a folder for the index");
    let cost = index_cost(1_281_167, folder.path()).expect("an index");
    let (megabytes, ms) = (cost.memory_bytes as f64 / 1e6, cost.load_s * 1e3);
    println!("index of 1281167 samples: {megabytes:.0} MB, loaded in {ms:.0} ms");
    divan::main();
}

fn data_set() -> (TempDir, Arc<Index>) {
    let root = tempfile::tempdir().expect("a folder for the images");
    let config =
        SynthConfig { num_train: NUM_IMAGES, num_eval: 16, size: 500, ..SynthConfig::default() };
    synth::write(&config, root.path(), None).expect("images");
    let folder = Index::open(root.path(), Split::Train).expect("a data set");
    (root, Arc::new(folder))
}

#[divan::bench(
    consts = [88, 176, 224],
    args = [Interpolation::Area, Interpolation::Bilinear],
    sample_count = 10,
    sample_size = 1
)]
fn train_epoch<const IMAGE_SIZE: usize>(bencher: Bencher<'_, '_>, interpolation: Interpolation) {
    let transform = TrainTransform { interpolation, ..TrainTransform::default() };
    epoch(bencher, IMAGE_SIZE, transform);
}

/// With the default `RandAugment` of both families.
#[divan::bench(
    consts = [88, 176, 224],
    args = [AugmentationSet::All, AugmentationSet::Torchvision],
    sample_count = 10,
    sample_size = 1
)]
fn augmented_epoch<const IMAGE_SIZE: usize>(bencher: Bencher<'_, '_>, set: AugmentationSet) {
    let augmentation = Some(Augmentation { depth: 2, severity: 9, set });
    epoch(bencher, IMAGE_SIZE, TrainTransform { augmentation, ..TrainTransform::default() });
}

fn epoch(bencher: Bencher<'_, '_>, image_size: usize, transform: TrainTransform) {
    let (_root, folder) = data_set();
    let loader_config = LoaderConfig::default();
    bencher.counter(ItemsCount::new(NUM_IMAGES)).bench(|| {
        let shard = Shard { rank: 0, world_size: 1 };
        let schedule = TrainSchedule {
            batch_per_rank: 16,
            steps_per_epoch: NUM_IMAGES / 16,
            epochs: 0..1,
            start_step: 0,
            image_sizes: vec![image_size],
            transforms: vec![transform],
        };
        let plans = train_plans(Sampler::new(folder.len(), shard, 0), schedule);
        let mut loader = Loader::start(Arc::clone(&folder), plans, loader_config.clone());
        while let Some(batch) = loader.next_batch().expect("good images") {
            divan::black_box(batch.images());
        }
    });
}
