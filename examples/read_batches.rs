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

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use mlperf_run::data::{DataConfig, Dataset, LoaderRank, TrainSchedule};

const CONFIG: &str = r#"
    order_seed = 1
    num_workers = 2
    [train]
    interpolation = "bilinear"
    hflip = 0.0
"#;
const BATCH: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, image_size, out] = arguments.as_slice() else {
        return Err("name a data set, an image size in px, and a file for pixels".into());
    };
    let config: DataConfig = toml::from_str(CONFIG)?;
    let dataset = Dataset::open(Path::new(data))?;
    let schedule = TrainSchedule {
        batch_per_rank: BATCH,
        steps_per_epoch: dataset.train.len() / BATCH,
        epochs: 0..1,
        start_step: 0,
        image_sizes: vec![image_size.parse()?],
        transforms: vec![config.train.transform([0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0])],
    };
    let mut loader = dataset.train_loader(&config, schedule, &LoaderRank::default())?;
    let mut pixels = BufWriter::new(File::create(out)?);
    while let Some(batch) = loader.next_batch()? {
        pixels.write_all(batch.images())?;
        for (&sample, label) in batch.plan().samples.iter().zip(batch.labels()) {
            let size = dataset.train.size(sample as usize);
            let crop = size.and_then(|size| batch.plan().crop(sample, size));
            let crop = crop.map_or("-".to_owned(), |crop| {
                format!("{} {} {} {}", crop.top, crop.left, crop.height, crop.width)
            });
            println!("{label}\t{crop}\t{}", dataset.train.path(sample as usize).display());
        }
    }
    Ok(pixels.flush()?)
}
