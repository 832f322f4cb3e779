//! The training step by itself, measured: no log, one rank, and images of a data set only where one
//! is named.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use tch::{Device, Kind, Tensor};

use super::{
    batch::DeviceBatch,
    ceilings::{Ceilings, best_s, finished},
    error::TrainError,
    rank::{RankJob, device, resolved},
    trainer::Trainer,
};
use crate::{
    data::{Dataset, Loader, Rng, Shard, TrainSchedule, train_plans},
    events::{StepParts, StepRates},
    libtorch::peak_gpu_bytes,
    recipe::{Precision, Recipe, RunContext},
};

/// Steps before the clock counts: memory is taken and kernels are chosen in them.
const WARM_UP: usize = 3;
/// A step's arithmetic is three forward passes: backward asks for gradients of images and of weights.
const PASSES: f64 = 3.0;
/// Times that backward and forward write or read a number between two layers or its gradient.
const ACCESSES: f64 = 5.0;
const MB: f64 = 1e6;

/// What to measure.
#[derive(Clone, Debug)]
pub struct StepBench {
    /// Sides of the training images, px, each one that the recipe trains at.
    pub image_sizes: Vec<usize>,
    /// Steps that count, of each side.
    pub num_steps: usize,
    /// Data set to take the images from, as often as it takes; else they are one batch of noise, for
    /// even ones take less power and let a device run faster.
    pub data: Option<PathBuf>,
}

/// Where images come from.
enum Feed {
    Noise { pixels: Vec<u8>, labels: Vec<i64> },
    Loader(Loader),
}

/// Measures the step of `job`'s recipe in `run_context` on this rank alone and tells of each side.
pub fn bench_steps(
    job: &RankJob,
    bench: &StepBench,
    run_context: &RunContext,
    tell: &mut dyn FnMut(&StepRates),
) -> Result<(), TrainError> {
    let recipe = resolved(job, run_context)?;
    let device = device(&recipe, &job.world)?;
    let stop = Arc::new(AtomicBool::new(false));
    let data = bench.data.as_deref().map(Dataset::open).transpose()?;
    let mut trainer = Trainer::build(&recipe, &job.world, device, stop)?;
    let ceilings = Ceilings::measure(recipe.train.precision, device);
    let eval_images_per_s = trainer.eval_rate(data.as_ref())?;
    for &image_size in &bench.image_sizes {
        trainer.progress.epoch = epoch_of(&recipe, image_size)?;
        let mut feed = trainer.feed(data.as_ref(), bench)?;
        let num_steps = bench.num_steps.max(1);
        tell(&trainer.rates(num_steps, &mut feed, (&ceilings, eval_images_per_s))?);
    }
    Ok(())
}

/// The first epoch, from 0, that trains at `image_size`.
fn epoch_of(recipe: &Recipe, image_size: usize) -> Result<usize, TrainError> {
    recipe.image_sizes.iter().position(|s| *s == image_size).ok_or_else(|| {
        let mut image_sizes = recipe.image_sizes.clone();
        image_sizes.dedup();
        TrainError::Device(format!(
            "the recipe never trains at {image_size} px; give one of {image_sizes:?}, or set data.train.crop_size"
        ))
    })
}

/// Steps between two looks at the clock: a GPU's queue stays full, as it does in training.
fn steps_in_lap(device: Device) -> usize {
    if device.is_cuda() { 5 } else { 1 }
}

impl Trainer {
    /// Images of the current epoch's size.
    fn feed(&self, data: Option<&Dataset>, bench: &StepBench) -> Result<Feed, TrainError> {
        let (batch_size, image_size) =
            (self.recipe.batch_per_rank, self.recipe.crop_sizes[self.progress.epoch]);
        let Some(data) = data else {
            let (pixels, labels) =
                noise(batch_size, image_size, self.recipe.run_context.num_classes);
            return Ok(Feed::Noise { pixels, labels });
        };
        let steps_per_epoch = data.train.len() / batch_size;
        if steps_per_epoch == 0 {
            let len = data.train.len();
            return Err(TrainError::Device(format!(
                "the data set has {len} training images, and a step takes {batch_size}; lower --batch"
            )));
        }
        let num_epochs = (WARM_UP + 2 * bench.num_steps).div_ceil(steps_per_epoch) + 1;
        let schedule = TrainSchedule {
            batch_per_rank: batch_size,
            steps_per_epoch,
            epochs: 0..num_epochs,
            image_sizes: vec![image_size; num_epochs],
            transform: self.recipe.data.train,
        };
        let sampler = self.sampler(data.train.len(), Shard { rank: 0, world_size: 1 });
        let plans = train_plans(sampler, schedule);
        Ok(Feed::Loader(Loader::start(Arc::clone(&data.train), plans, self.loader_config())))
    }

    fn rates(
        &mut self,
        num_steps: usize,
        feed: &mut Feed,
        (ceilings, eval_images_per_s): (&Ceilings, f64),
    ) -> Result<StepRates, TrainError> {
        for _ in 0..WARM_UP {
            let device_batch = self.fed(feed)?;
            drop(self.step(&device_batch)?);
        }
        let part = self.parts_ms(num_steps, feed)?;
        self.captured.clear();
        let not_captured = self.capture_steps_of(&[self.progress.epoch])?;
        let (laps_ms, data_wait, loss) = self.laps(num_steps, feed)?;
        let step_ms = spread(laps_ms);
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
            Feed::Noise { pixels, labels } => {
                let image_size = self.recipe.crop_sizes[self.progress.epoch];
                self.uploader.upload_parts(pixels, labels, image_size)?
            }
            Feed::Loader(loader) => {
                let batch = loader.next_batch()?.expect("there are plans enough");
                self.uploader.upload(&batch)?
            }
        })
    }

    /// Milliseconds of a step, lap by lap, the share of them that was waiting for images, and the last
    /// loss.
    fn laps(
        &mut self,
        num_steps: usize,
        feed: &mut Feed,
    ) -> Result<(Vec<f64>, Option<f64>, f64), TrainError> {
        let steps_in_lap = steps_in_lap(self.device).min(num_steps);
        let waited_s = |feed: &Feed| match feed {
            Feed::Noise { .. } => None,
            Feed::Loader(loader) => Some(loader.stats().wait_s),
        };
        let (start, waited_before) = (Instant::now(), waited_s(feed));
        let mut laps_ms = Vec::with_capacity(num_steps / steps_in_lap);
        let mut loss = Tensor::zeros([], (Kind::Float, self.device));
        for _ in 0..num_steps / steps_in_lap {
            let lap = Instant::now();
            for _ in 0..steps_in_lap {
                let device_batch = self.fed(feed)?;
                loss = self.step(&device_batch)?;
            }
            finished(self.device);
            laps_ms.push(lap.elapsed().as_secs_f64() * 1e3 / steps_in_lap as f64);
        }
        let total_s = start.elapsed().as_secs_f64();
        let wait = waited_s(feed).zip(waited_before).map(|(now, before)| (now - before) / total_s);
        Ok((laps_ms, wait, f64::try_from(loss).expect("one number")))
    }

    /// Median parts of steps that are not recorded, each part waited for by itself.
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
        let batch = self.uploader.batch(&self.fed(feed)?);
        let upload = lap();
        let batch = self.apply_methods(batch)?;
        let loss = self.loss(&batch)?;
        let forward = lap();
        self.ddp.backward(&self.scaler.scale(&loss))?;
        self.exchange()?;
        let backward = lap();
        self.scaler.step(&mut self.optimizer)?;
        self.progress.step += 1;
        self.algorithms.after_step(self.progress)?;
        Ok(StepParts { upload, forward, backward, update: lap() })
    }

    /// Images judged in a second: all validation images of `data`, decoded, else a batch of noise.
    fn eval_rate(&self, data: Option<&Dataset>) -> Result<f64, TrainError> {
        let (num, image_size) = (self.recipe.eval_batch_per_rank, self.recipe.data.eval.crop_size);
        let (pixels, labels) = noise(num, image_size, self.recipe.run_context.num_classes);
        let right = Tensor::zeros([], (Kind::Int64, self.device));
        let count_correct = || {
            let device_batch = self.uploader.upload_parts(&pixels, &labels, image_size)?;
            self.count_correct(&device_batch, &right)
        };
        count_correct()?;
        let Some(data) = data else {
            return Ok(
                num as f64 / best_s(self.device, || count_correct().expect("it did so before"))
            );
        };
        let start = Instant::now();
        let mut loader = self.eval_loader(data);
        while let Some(batch) = loader.next_batch()? {
            self.count_correct(&self.uploader.upload(&batch)?, &right)?;
        }
        finished(self.device);
        Ok(data.eval.len() as f64 / start.elapsed().as_secs_f64())
    }
}

/// Images `[num, image_size, image_size, 3]` of noise, the same each time, with labels of all classes.
fn noise(num: usize, image_size: usize, num_classes: usize) -> (Vec<u8>, Vec<i64>) {
    let mut rng = Rng::keyed(&[image_size as u64]);
    let mut pixels = vec![0; num * image_size * image_size * 3];
    pixels.chunks_mut(8).for_each(|some| {
        let bytes = rng.next_u64().to_le_bytes();
        some.copy_from_slice(&bytes[..some.len()]);
    });
    let labels = (0..num).map(|i| (i % num_classes) as i64).collect();
    (pixels, labels)
}

/// Least, median and greatest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// What `VmHWM` says.
fn peak_host_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / MB
}
