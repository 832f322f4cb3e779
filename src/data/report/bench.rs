//! Measures how fast this machine turns a data set into batches, where the time goes, and how many
//! accelerators that feeds.

use std::{
    fs::File,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};

use crate::data::{
    config::{OnBadImage, TrainTransform},
    dataset::span_reader::SpanReader,
    error::DataError,
    image::{
        decode::{Decoder, Part},
        pixels::Size,
    },
    index::{Entry, FileStamp, Index, cache},
    loader::{
        Loader, LoaderConfig,
        cache::{Cache, Sharing},
        stats::LoaderStats,
    },
    order::{
        plan::{TrainSchedule, Transform, train_plans},
        sampler::{Sampler, Shard},
    },
    rng::Rng,
    transform::{
        crop::random_resized_crop,
        resize::{Resizer, Target},
    },
};

/// Images per batch.
pub(in crate::data) const BATCH: usize = 64;
/// Images for the measurement of single stages.
const NUM_STAGED: usize = 192;

/// The measurement at one crop size.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Crop size, px.
    pub image_size: usize,
    /// Images per second, over all threads.
    pub images_per_s: f64,
    /// Images per second of CPU time.
    pub images_per_core_s: f64,
    /// Bytes of files per second.
    pub bytes_per_s: f64,
    /// How one thread's time is divided.
    pub fractions: Fractions,
    /// Where the loader's time went. Only the loader runs here.
    pub stats: LoaderStats,
    /// Duration of the measurement, s.
    pub wall_s: f64,
}

/// Fractions of a thread's time, which add up to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fractions {
    /// Reading files.
    pub read: f64,
    /// Entropy decoding: the time that remains when images are decoded at 1/8 scale.
    pub huffman: f64,
    /// Inverse DCT, chroma upsampling and colour conversion.
    pub idct: f64,
    /// Resizing.
    pub resize: f64,
}

/// Decodes `num_images` random training crops of `image_size` on `num_threads` threads, after a
/// warm-up of as many images, so that the files are in memory.
pub fn measure(
    index: &Arc<Index>,
    (image_size, transform): (usize, TrainTransform),
    num_threads: usize,
    num_images: usize,
) -> Result<Rates, DataError> {
    let steps_per_epoch = (num_images / BATCH).clamp(1, (index.len() / BATCH).max(1));
    let batch_per_rank = BATCH.min(index.len());
    let schedule = TrainSchedule {
        batch_per_rank,
        steps_per_epoch,
        epochs: 0..2,
        start_step: 0,
        image_sizes: vec![image_size; 2],
        transforms: vec![transform; 2],
    };
    let shard = Shard { rank: 0, world_size: 1 };
    let sampler = Sampler::new(index.len(), shard, 0);
    let order: Vec<u32> = sampler.epoch_order(1)[..steps_per_epoch * batch_per_rank].to_vec();
    let cache = Cache::open(transform.ram_cache, index.num_keys(), Sharing::Alone)?.map(Arc::new);
    let config = LoaderConfig {
        cache,
        num_threads,
        batches_ahead: 4,
        on_bad_image: OnBadImage::Skip,
        ..LoaderConfig::default()
    };
    let mut loader = Loader::start(Arc::clone(index), train_plans(sampler, schedule), config);
    for _ in 0..steps_per_epoch {
        loader.next_batch()?;
    }
    let (start, cpu_s, before) = (Instant::now(), cpu_time_s(), loader.stats());
    while loader.next_batch()?.is_some() {}
    let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), cpu_time_s() - cpu_s);
    let stats = loader.stats().since(&before);
    let read = index.serving(&Transform::Train { image_size, config: transform });
    let (fractions, bytes) = stages(read, &order, (image_size, transform));
    let num_images = order.len() as f64;
    let images_per_s = num_images / wall_s;
    let bytes_per_s = images_per_s * bytes;
    let images_per_core_s = num_images / cpu_s;
    Ok(Rates { image_size, images_per_s, images_per_core_s, bytes_per_s, fractions, stats, wall_s })
}

/// CPU time of all threads of this process so far.
fn cpu_time_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Fractions of one thread's time, and the mean length of a file.
fn stages(
    index: &Index,
    order: &[u32],
    (image_size, config): (usize, TrainTransform),
) -> (Fractions, f64) {
    let (mut spans, mut decoder) = (SpanReader::default(), Decoder::new());
    let (mut resizer, mut file) = (Resizer::default(), Vec::new());
    let mut row = vec![0; image_size * image_size * 3];
    let mut spent = [Duration::ZERO; 4];
    let (mut num_bytes, mut num_files) = (0, 0);
    for &sample in order.iter().take(NUM_STAGED) {
        let begin = Instant::now();
        let read = spans.read(index, sample as usize, &mut file);
        spent[0] += begin.elapsed();
        let (Ok(()), Ok(image)) = (read, decoder.size(&file)) else { continue };
        let crop = random_resized_crop(image, &config, &mut Rng::keyed(&[u64::from(sample)]));
        for (stage, denominator) in [(1, 8), (2, 1)] {
            let begin = Instant::now();
            let view = decoder.decode_part(&file, Part { crop, denominator });
            spent[stage] += begin.elapsed();
            let (Ok(view), 1) = (view, denominator) else { continue };
            let begin = Instant::now();
            let target = Target::new(&mut row, Size::square(image_size));
            resizer.resize(view, config.interpolation, target);
            spent[3] += begin.elapsed();
        }
        num_bytes += file.len();
        num_files += 1;
    }
    let [read, huffman, decode, resize] = spent.map(|time| time.as_secs_f64());
    let total = (read + decode.max(huffman) + resize).max(1e-9);
    let fractions = Fractions {
        read: read / total,
        huffman: huffman / total,
        idct: (decode - huffman).max(0.0) / total,
        resize: resize / total,
    };
    (fractions, num_bytes as f64 / f64::from(num_files.max(1)))
}

/// The cost of a large index.
#[derive(Clone, Copy, Debug)]
pub struct IndexCost {
    /// Memory of the loaded index.
    pub memory_bytes: usize,
    /// Time to load it from the cache, s.
    pub load_s: f64,
}

/// Writes an index of `num_samples` samples below `folder`, with names as long as `ImageNet`'s, and
/// loads it.
pub fn index_cost(num_samples: usize, folder: &Path) -> io::Result<IndexCost> {
    const CLASSES: usize = 1000;
    let place = folder.join("ILSVRC2012_img_train.tar");
    let file = File::create(&place)?;
    file.set_len(num_samples as u64)?;
    file.set_modified(SystemTime::UNIX_EPOCH)?;
    let mut index = Index::new(vec![place.clone()], vec![FileStamp::of(&place)?]);
    index.classes = (0..CLASSES).map(|class| format!("n{class:08}")).collect();
    for i in 0..num_samples {
        let label = i * CLASSES / num_samples;
        let name = format!("n{label:08}.tar/n{label:08}_{i}.JPEG");
        let (place, offset, length, label) = (0, i as u64, 1, label as u32);
        let (size, flags, name) = ([0; 2], 0, name.as_bytes());
        index.push(&Entry { place, offset, length, label, size, flags, name });
    }
    let cached = folder.join("index.bin");
    cache::store(&cached, &index)?;
    let begin = Instant::now();
    let loaded = cache::load(&cached).filter(|loaded| loaded.len() == num_samples);
    let load_s = begin.elapsed().as_secs_f64();
    let loaded =
        loaded.ok_or_else(|| io::Error::other("cannot read back the index that was written"))?;
    Ok(IndexCost { memory_bytes: loaded.memory_bytes(), load_s })
}

/// The image rate that one accelerator consumes.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Name of the accelerator.
    pub accelerator: &'static str,
    /// Images per second at `image_size`.
    pub images_per_s: f64,
    /// Size of the training images, px.
    pub image_size: usize,
    /// The run from which the rate was read.
    pub source: &'static str,
}

/// Rates of the best published runs, from their logs. The rate at 88 px is limited by that run's
/// loader.
pub const DEMANDS: [Demand; 5] = [
    Demand { accelerator: "A100", images_per_s: 3500.0, image_size: 224, source: "closed, v3.0" },
    Demand { accelerator: "A100", images_per_s: 2530.0, image_size: 176, source: "MosaicML, v2.0" },
    Demand { accelerator: "A100", images_per_s: 4060.0, image_size: 88, source: "MosaicML, v2.0" },
    Demand { accelerator: "H100", images_per_s: 7140.0, image_size: 224, source: "closed, v4.0" },
    Demand { accelerator: "H200", images_per_s: 7960.0, image_size: 224, source: "closed, v4.0" },
];

impl Demand {
    /// The rate at another image size, in proportion to the number of pixels: an upper bound for
    /// smaller images, because the other costs of a step do not shrink with them.
    pub fn at(&self, image_size: usize) -> f64 {
        self.images_per_s * (self.image_size as f64 / image_size as f64).powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{config::Split, fixture};

    #[test]
    fn a_measurement_counts_the_bytes_it_read() {
        let root = fixture::data_set(30, 1);
        let index = Arc::new(Index::open(root.path(), Split::Train).unwrap());
        let rates = measure(&index, (16, TrainTransform::default()), 2, 64).unwrap();
        assert_eq!(rates.image_size, 16);
        assert!(rates.images_per_s > 0.0 && rates.images_per_core_s > 0.0);
        let Fractions { read, huffman, idct, resize } = rates.fractions;
        assert!((read + huffman + idct + resize - 1.0).abs() < 1e-6, "{:?}", rates.fractions);
        let mean = rates.bytes_per_s / rates.images_per_s;
        let file = std::fs::metadata(index.path(0)).unwrap().len() as f64;
        assert!((0.3..3.0).contains(&(mean / file)), "{mean} bytes per file");
    }

    #[test]
    fn an_index_of_imagenet_takes_less_than_100_megabytes() {
        let folder = tempfile::tempdir().unwrap();
        let cost = index_cost(1_281_167, folder.path()).unwrap();
        assert!(cost.memory_bytes < 100_000_000, "{} bytes", cost.memory_bytes);
    }

    #[test]
    fn demand_follows_the_number_of_pixels() {
        assert!((DEMANDS[0].at(112) - 14_000.0).abs() < 1e-6);
        assert!((DEMANDS[0].at(224) - 3500.0).abs() < 1e-6);
    }
}
