//! The training step by itself, measured: no data set, no log, one rank.

use std::{
    fs,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use tch::{Device, Kind, Tensor};

use super::{
    error::TrainError,
    rank::{RankJob, device, resolved},
    step::kind,
    trainer::Trainer,
};
use crate::{
    algorithms::Batch,
    events::{StepParts, StepRates},
    recipe::{Precision, Recipe, Situation},
};

/// Steps before the clock counts: memory is taken and kernels are chosen in them.
const WARM_UP: usize = 3;
/// A step's arithmetic is three forward passes: backward asks for gradients of images and of weights.
const PASSES: f64 = 3.0;
/// Repetitions of what is measured beside the step; the best counts.
const TRIES: usize = 5;
const MB: f64 = 1e6;

/// What to measure.
#[derive(Clone, Debug)]
pub struct StepBench {
    /// Sides of the training images, px, each one that the recipe trains at.
    pub sides: Vec<usize>,
    /// Steps that count, of each side.
    pub num_steps: usize,
}

/// Measures the step of `job`'s recipe in `situation` on this rank alone and tells of each side.
pub fn bench_steps(
    job: &RankJob,
    bench: &StepBench,
    situation: &Situation,
    tell: &mut dyn FnMut(&StepRates),
) -> Result<(), TrainError> {
    let recipe = resolved(job, situation)?;
    let device = device(recipe.raw.run.device, &job.world)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut trainer = Trainer::build(&recipe, &job.world, device, stop)?;
    let ceilings = Ceilings::measure(recipe.raw.train.precision, device);
    for &side in &bench.sides {
        trainer.progress.epoch = epoch_of(&recipe, side)?;
        tell(&trainer.rates(bench.num_steps, &ceilings)?);
    }
    Ok(())
}

/// The first epoch, from 0, that trains at `side`.
fn epoch_of(recipe: &Recipe, side: usize) -> Result<usize, TrainError> {
    recipe.sides.iter().position(|s| *s == side).ok_or_else(|| {
        let mut sides = recipe.sides.clone();
        sides.dedup();
        TrainError::Device(format!(
            "the recipe never trains at {side} px; give one of {sides:?}, or set data.train.crop_size"
        ))
    })
}

/// What the machine reaches where nothing else is in the way.
struct Ceilings {
    matmul_tflops: f64,
    copy_gb_s: f64,
}

impl Ceilings {
    fn measure(precision: Precision, device: Device) -> Self {
        // Large enough to fill the device, small enough for a second or so.
        let (n, megabytes) = match device {
            Device::Cuda(_) => (8192, 1024),
            _ => (1024, 128),
        };
        let kind = match precision {
            Precision::Fp32 | Precision::Fp64 => kind(precision),
            Precision::AmpBf16 => Kind::BFloat16,
            Precision::AmpFp16 => Kind::Half,
        };
        let (a, b) = (Tensor::ones([n, n], (kind, device)), Tensor::ones([n, n], (kind, device)));
        let from = Tensor::ones([megabytes * 1_000_000], (Kind::Uint8, device));
        let to = from.zeros_like();
        let matmul_s = best_s(device, || drop(a.matmul(&b)));
        let copy_s = best_s(device, || to.shallow_clone().copy_(&from));
        Self {
            matmul_tflops: 2.0 * (n as f64).powi(3) / matmul_s / 1e12,
            copy_gb_s: 2.0 * megabytes as f64 / 1e3 / copy_s,
        }
    }
}

fn best_s(device: Device, mut act: impl FnMut()) -> f64 {
    let tries = (0..TRIES).map(|_| {
        let start = Instant::now();
        act();
        finished(device);
        start.elapsed().as_secs_f64()
    });
    tries.fold(f64::INFINITY, f64::min)
}

/// Waits until the device has done what it was told.
fn finished(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

impl Trainer {
    fn rates(&mut self, num_steps: usize, ceilings: &Ceilings) -> Result<StepRates, TrainError> {
        let epoch = self.progress.epoch;
        let batch_size = self.recipe.batch_per_rank;
        let num_steps = num_steps.max(1);
        let mut steps = Vec::with_capacity(num_steps);
        for step in 0..WARM_UP + num_steps {
            let start = Instant::now();
            let batch = self.grey_batch(epoch);
            drop(self.step(batch)?);
            finished(self.device);
            if step >= WARM_UP {
                steps.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        let parts: Result<Vec<_>, _> = (0..num_steps).map(|_| self.parts_ms(epoch)).collect();
        let parts = parts?;
        let part = |of: fn(&StepParts) -> f64| spread(parts.iter().map(of).collect())[1];
        let step_ms = spread(steps);
        let side = self.recipe.sides[epoch];
        let images_per_s = batch_size as f64 / step_ms[1] * 1e3;
        let flops = 2.0 * PASSES * self.recipe.blueprint.macs(side) as f64;
        Ok(StepRates {
            device: match self.device {
                Device::Cuda(index) => format!("cuda:{index}"),
                _ => "cpu".to_owned(),
            },
            side,
            batch_size,
            num_steps,
            images_per_s,
            step_ms,
            parts_ms: StepParts {
                upload: part(|p| p.upload),
                forward: part(|p| p.forward),
                backward: part(|p| p.backward),
                update: part(|p| p.update),
            },
            tflops: flops * images_per_s / 1e12,
            matmul_tflops: ceilings.matmul_tflops,
            copy_gb_s: ceilings.copy_gb_s,
            peak_host_mb: peak_host_mb(),
        })
    }

    fn grey_batch(&self, epoch: usize) -> Batch {
        self.uploader.synthetic(self.recipe.batch_per_rank, self.recipe.crop_sides[epoch])
    }

    /// One step, part by part.
    fn parts_ms(&mut self, epoch: usize) -> Result<StepParts, TrainError> {
        let device = self.device;
        let mut start = Instant::now();
        let mut lap = || {
            finished(device);
            let ms = start.elapsed().as_secs_f64() * 1e3;
            start = Instant::now();
            ms
        };
        let batch = self.grey_batch(epoch);
        let upload = lap();
        let batch = self.changed(batch)?;
        let loss = self.loss(&batch)?;
        let forward = lap();
        self.ddp.backward(&self.scaler.scale(&loss))?;
        let backward = lap();
        self.update()?;
        Ok(StepParts { upload, forward, backward, update: lap() })
    }
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
