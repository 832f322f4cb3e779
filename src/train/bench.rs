//! Measures the training step on one rank, without a log, on noise or on the images of a data set.

use std::{fs, path::PathBuf, sync::Arc, time::Instant};

use tch::{Device, Kind, Tensor};

use super::{
    batch::{DeviceBatch, Uploader},
    ceilings::{Ceilings, best_s, finished},
    engine::StepEngine,
    error::TrainError,
    rank::{RankJob, device, resolved},
    trainer::Trainer,
};
use crate::{
    data::{Dataset, Loader, LoaderRank, Rng, Shard, TrainSchedule},
    events::{StepParts, StepRates},
    libtorch::{BridgeError, peak_gpu_bytes},
    recipe::{Precision, Recipe, RunContext},
};

/// Steps before the measurement, in which memory is allocated and kernels are chosen.
const WARM_UP: usize = 3;
/// A step computes as much as three forward passes: backward computes gradients of inputs and of
/// weights.
const PASSES: f64 = 3.0;
/// Times that forward and backward read or write an activation or its gradient between two layers.
const ACCESSES: f64 = 5.0;
const MB: f64 = 1e6;

/// What to measure.
#[derive(Clone, Debug)]
pub struct StepBench {
    /// Sizes of the training images, px. The recipe must train at each of them.
    pub image_sizes: Vec<usize>,
    /// Measured steps of each image size.
    pub num_steps: usize,
    /// Data set to read the images from, repeated as needed. Without one, the images are one batch of
    /// noise; constant images would take less power and let a device run faster.
    pub data: Option<PathBuf>,
}

/// The source of images.
enum Feed {
    Noise(Noise),
    Loader(Loader),
}

/// Images `[N, R, R, 3]` of noise with labels of all classes, the same each time.
struct Noise {
    pixels: Vec<u8>,
    labels: Vec<i64>,
    image_size: usize,
}

/// Measurements of a number of steps.
struct Laps {
    /// Time of a step, lap by lap, ms.
    step_ms: Vec<f64>,
    /// Fraction of the time that was waiting for the loader.
    data_wait: Option<f64>,
    /// Loss of the last step.
    loss: f64,
}

/// Measures the step of `job`'s recipe in `run_context` on this rank alone. Calls `report` for each
/// image size.
pub fn bench_steps(
    job: &RankJob,
    bench: &StepBench,
    run_context: &RunContext,
    report: &mut dyn FnMut(&StepRates),
) -> Result<(), TrainError> {
    let recipe = resolved(job, run_context)?;
    let device = device(&recipe, &job.world)?;
    let shared = (Arc::clone(&job.stop), Arc::clone(&job.pulse));
    let data = bench.data.as_deref().map(Dataset::open).transpose()?;
    let mut trainer = Trainer::build(&recipe, &job.world, device, shared)?;
    let not_fused = trainer.engine.fuse()?;
    trainer.engine.fit_microbatch()?;
    let ceilings = Ceilings::measure(recipe.train.precision, device);
    trainer.engine.warm_evaluation()?;
    let eval_not_captured = trainer.engine.capture_evaluation();
    let eval_images_per_s = trainer.eval_rate(data.as_ref())?;
    for &image_size in &bench.image_sizes {
        trainer.engine.enter_epoch(epoch_of(&recipe, image_size)?)?;
        let mut feed = trainer.feed(data.as_ref(), bench)?;
        let num_steps = bench.num_steps.max(1);
        let rates = trainer.engine.rates(num_steps, &mut feed, &ceilings, eval_images_per_s)?;
        let not_captured = rates.not_captured.or_else(|| eval_not_captured.clone());
        report(&StepRates { not_fused: not_fused.clone(), not_captured, ..rates });
    }
    Ok(())
}

/// The first epoch, from 0, that trains at `image_size`.
fn epoch_of(recipe: &Recipe, image_size: usize) -> Result<usize, TrainError> {
    recipe.image_sizes.iter().position(|s| *s == image_size).ok_or_else(|| {
        let mut image_sizes = recipe.image_sizes.clone();
        image_sizes.dedup();
        TrainError::Bench(format!(
            "the recipe never trains at {image_size} px; give one of {image_sizes:?}, or set data.train.crop_size"
        ))
    })
}

/// Steps between two readings of the clock. Several keep the queue of a GPU full, as in training.
fn steps_in_lap(device: Device) -> usize {
    if device.is_cuda() { 5 } else { 1 }
}

impl Trainer {
    /// Images of the size of the current epoch.
    fn feed(&self, data: Option<&Dataset>, bench: &StepBench) -> Result<Feed, TrainError> {
        let (batch_size, image_size) = (
            self.engine.recipe.batch_per_rank,
            self.engine.recipe.crop_sizes[self.engine.progress.epoch],
        );
        let Some(data) = data else {
            let num_classes = self.engine.recipe.run_context.num_classes;
            return Ok(Feed::Noise(Noise::new(batch_size, image_size, num_classes)));
        };
        let steps_per_epoch = data.train.len() / batch_size;
        if steps_per_epoch == 0 {
            let len = data.train.len();
            return Err(TrainError::Bench(format!(
                "the data set has {len} training images, and a step takes {batch_size}; lower --batch"
            )));
        }
        let num_epochs = (WARM_UP + 2 * bench.num_steps).div_ceil(steps_per_epoch) + 1;
        let schedule = TrainSchedule {
            batch_per_rank: batch_size,
            steps_per_epoch,
            epochs: 0..num_epochs,
            start_step: 0,
            image_sizes: vec![image_size; num_epochs],
            transforms: vec![self.engine.values().transform; num_epochs],
        };
        let recipe = &self.engine.recipe;
        let rank = LoaderRank { shard: Shard { rank: 0, world_size: 1 }, ..self.rank.clone() };
        Ok(Feed::Loader(data.train_loader(&recipe.data, schedule, &rank)?))
    }

    /// Evaluated images a second: of all validation images of `data`, decoding included, or of a batch
    /// of noise.
    fn eval_rate(&self, data: Option<&Dataset>) -> Result<f64, TrainError> {
        let (num, image_size) =
            (self.engine.recipe.eval_batch_per_rank, self.engine.recipe.data.eval.crop_size);
        let noise = Noise::new(num, image_size, self.engine.recipe.run_context.num_classes);
        let evaluate = || self.engine.evaluate(&noise.upload(&self.engine.uploader)?);
        evaluate()?;
        let Some(data) = data else {
            return Ok(num as f64
                / best_s(self.engine.device, || evaluate().expect("the first call succeeded")));
        };
        let start = Instant::now();
        let mut loader = self.eval_loader(data);
        while let Some(batch) = loader.next_batch()? {
            self.engine.evaluate(&self.engine.uploader.upload(&batch)?)?;
        }
        finished(self.engine.device);
        Ok(data.eval.len() as f64 / start.elapsed().as_secs_f64())
    }
}

impl StepEngine {
    fn rates(
        &mut self,
        num_steps: usize,
        feed: &mut Feed,
        ceilings: &Ceilings,
        eval_images_per_s: f64,
    ) -> Result<StepRates, TrainError> {
        for _ in 0..WARM_UP {
            let device_batch = self.fed(feed)?;
            drop(self.step(&device_batch)?);
        }
        let part = self.parts_ms(num_steps, feed)?;
        self.captured.clear();
        let not_captured = self.capture_steps_of(&[self.progress.epoch])?;
        let Laps { step_ms, data_wait, loss } = self.laps(num_steps, feed)?;
        let step_ms = spread(step_ms);
        let image_size = self.recipe.image_sizes[self.progress.epoch];
        let batch_size = self.recipe.batch_per_rank;
        let images_per_s = batch_size as f64 / step_ms[1] * 1e3;
        let flops = 2.0 * PASSES * self.recipe.spec.macs(image_size) as f64;
        let num_bytes = match self.recipe.train.precision {
            Precision::Fp64 => 8.0,
            Precision::Fp32 => 4.0,
            Precision::AmpBf16 | Precision::AmpFp16 => 2.0,
        };
        let traffic = ACCESSES * num_bytes * self.recipe.spec.activations(image_size) as f64;
        Ok(StepRates {
            device: match self.device {
                Device::Cuda(index) => format!("cuda:{index}"),
                _ => "cpu".to_owned(),
            },
            image_size,
            batch_size,
            num_steps,
            images_per_s,
            step_ms,
            loss,
            captured: !self.captured.is_empty(),
            not_captured,
            fused: self.forward.is_fused(),
            not_fused: None,
            parts_ms: part,
            data_wait,
            eval_images_per_s,
            tflops: flops * images_per_s / 1e12,
            traffic_gb_s: traffic * images_per_s / 1e9,
            matmul_tflops: ceilings.matmul_tflops,
            copy_gb_s: ceilings.copy_gb_s,
            peak_host_mb: peak_host_mb(),
            peak_gpu_mb: match self.device {
                Device::Cuda(index) => Some(peak_gpu_bytes(index)? as f64 / MB),
                _ => None,
            },
        })
    }

    /// The next images.
    fn fed(&self, feed: &mut Feed) -> Result<DeviceBatch, TrainError> {
        Ok(match feed {
            Feed::Noise(noise) => noise.upload(&self.uploader)?,
            Feed::Loader(loader) => {
                let batch = loader.next_batch()?.expect("the loader has plans for all steps");
                self.uploader.upload(&batch)?
            }
        })
    }

    /// Measures steps, lap by lap.
    fn laps(&mut self, num_steps: usize, feed: &mut Feed) -> Result<Laps, TrainError> {
        let steps_in_lap = steps_in_lap(self.device).min(num_steps);
        let waited_s = |feed: &Feed| match feed {
            Feed::Noise(_) => None,
            Feed::Loader(loader) => Some(loader.stats().wait_s),
        };
        let (start, waited_before) = (Instant::now(), waited_s(feed));
        let mut step_ms = Vec::with_capacity(num_steps / steps_in_lap);
        let mut loss = Tensor::zeros([], (Kind::Float, self.device));
        for _ in 0..num_steps / steps_in_lap {
            let lap = Instant::now();
            for _ in 0..steps_in_lap {
                let device_batch = self.fed(feed)?;
                loss = self.step(&device_batch)?;
            }
            finished(self.device);
            step_ms.push(lap.elapsed().as_secs_f64() * 1e3 / steps_in_lap as f64);
        }
        let total_s = start.elapsed().as_secs_f64();
        let data_wait =
            waited_s(feed).zip(waited_before).map(|(now, before)| (now - before) / total_s);
        Ok(Laps { step_ms, data_wait, loss: f64::try_from(loss).expect("one number") })
    }

    /// Median times of the parts of steps that are not captured. Each part is waited for.
    fn parts_ms(&mut self, num_steps: usize, feed: &mut Feed) -> Result<StepParts, TrainError> {
        let parts: Result<Vec<_>, _> = (0..num_steps).map(|_| self.parts_of_one(feed)).collect();
        let parts = parts?;
        let part = |of: fn(&StepParts) -> f64| spread(parts.iter().map(of).collect())[1];
        Ok(StepParts {
            upload: part(|p| p.upload),
            forward: part(|p| p.forward),
            backward: part(|p| p.backward),
            update: part(|p| p.update),
        })
    }

    fn parts_of_one(&mut self, feed: &mut Feed) -> Result<StepParts, TrainError> {
        let device = self.device;
        let mut start = Instant::now();
        let mut lap = || {
            finished(device);
            let ms = start.elapsed().as_secs_f64() * 1e3;
            start = Instant::now();
            ms
        };
        let batch = self.train_batch(&self.fed(feed)?);
        let upload = lap();
        let batch = self.apply_methods(batch)?;
        // Forward and backward are those of one microbatch.
        let num = (self.recipe.microbatch() as i64).min(batch.labels.size()[0]);
        let loss = self.loss(&batch.part(0, num))?;
        let forward = lap();
        self.ddp.backward(&self.scaler.scale(&loss))?;
        self.exchange()?;
        let backward = lap();
        self.update()?;
        self.progress.step += 1;
        self.algorithms.after_step(self.progress)?;
        Ok(StepParts { upload, forward, backward, update: lap() })
    }
}

impl Noise {
    fn new(num: usize, image_size: usize, num_classes: usize) -> Self {
        let mut rng = Rng::keyed(&[image_size as u64]);
        let mut pixels = vec![0; num * image_size * image_size * 3];
        pixels.chunks_mut(8).for_each(|some| {
            let bytes = rng.next_u64().to_le_bytes();
            some.copy_from_slice(&bytes[..some.len()]);
        });
        let labels = (0..num).map(|i| (i % num_classes) as i64).collect();
        Self { pixels, labels, image_size }
    }

    fn upload(&self, uploader: &Uploader) -> Result<DeviceBatch, BridgeError> {
        uploader.upload_parts(&self.pixels, &self.labels, self.image_size)
    }
}

/// Least, median and greatest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// Peak resident memory of this process, from `VmHWM`.
fn peak_host_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / MB
}
