//! Reads an epoch of a data set in batches, as your own trainer would, with crops by bilinear
//! resizing, which equal torchvision's.
//!
//! ```text
//! cargo run --release --no-default-features --example read_batches -- DATA 176 PIXELS
//! ```
//!
//! Writes the rows, RGB `[176, 176, 3]`, to PIXELS. Prints a line per row: label, box (top, left,
//! height, width; only if the container gives the image sizes) and file.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use mlperf_run::data::{
    Crop, Dataset, Interpolation, Loader, LoaderConfig, Sampler, Shard, TrainSchedule,
    TrainTransform, random_resized_crop, train_plans,
};

const SEED: u64 = 1;
const BATCH: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, image_size, out] = arguments.as_slice() else {
        return Err("name a data set, a crop size in px, and a file for pixels".into());
    };
    let index = Dataset::open(Path::new(data))?.train;
    let transform = TrainTransform {
        interpolation: Interpolation::Bilinear,
        hflip: 0.0,
        ..TrainTransform::default()
    };
    let schedule = TrainSchedule {
        batch_per_rank: BATCH,
        steps_per_epoch: index.len() / BATCH,
        epochs: 0..1,
        image_sizes: vec![image_size.parse()?],
        transform,
    };
    let sampler = Sampler::new(index.len(), Shard { rank: 0, world_size: 1 }, SEED);
    let plans: Vec<_> = train_plans(sampler, schedule).collect();
    let config = LoaderConfig { num_threads: 2, ..LoaderConfig::default() };
    let mut loader = Loader::start(Arc::clone(&index), plans.clone().into_iter(), config);

    let mut pixels = BufWriter::new(File::create(out)?);
    for plan in &plans {
        let batch = loader.next_batch()?.ok_or("every plan gives a batch")?;
        pixels.write_all(batch.images())?;
        for (&sample, label) in plan.samples.iter().zip(batch.labels()) {
            let crop = |size| random_resized_crop(size, &transform, &mut plan.rng(sample, 0));
            let crop = index.size(sample as usize).map(crop);
            let crop = crop.map_or("-".to_owned(), |Crop { top, left, height, width }| {
                format!("{top} {left} {height} {width}")
            });
            println!("{label}\t{crop}\t{}", index.path(sample as usize).display());
        }
    }
    Ok(pixels.flush()?)
}
