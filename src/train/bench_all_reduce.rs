//! Measures the all-reduce, in the way of nccl-tests.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::{
    engine::timeouts,
    error::TrainError,
    rank::{RankJob, device, resolved},
};
use crate::{distributed::Ddp, events::AllReduceRate, libtorch::Readout, recipe::RunContext};

/// Unmeasured all-reduces of each size, and measured ones.
const WARM_UP: usize = 5;
const NUM_TIMED: usize = 20;

/// Measures tensors of `sizes`, in bytes of fp32, over the ranks of `job`. Rank 0 calls `report` for each.
pub fn bench_all_reduce(
    job: &RankJob,
    sizes: &[usize],
    run_context: &RunContext,
    report: &mut dyn FnMut(&AllReduceRate),
) -> Result<(), TrainError> {
    let recipe = resolved(job, run_context)?;
    let device = device(&recipe, &job.world)?;
    let ddp = Ddp::join(&job.world, device, timeouts(&recipe))?;
    let name = match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    };
    for &num_bytes in sizes {
        let num = (num_bytes / size_of::<f32>()).max(1);
        let time_us = time_us(&ddp, num, device)?;
        check_sum(&ddp, (num, job.world.rank, job.world.world_size), device)?;
        if job.world.is_main() {
            let num_bytes = num * size_of::<f32>();
            report(&AllReduceRate::new(name.clone(), job.world.world_size, num_bytes, time_us));
        }
    }
    Ok(())
}

/// Mean time of an all-reduce of `num` numbers, us.
fn time_us(ddp: &Ddp, num: usize, device: Device) -> Result<f64, TrainError> {
    let tensor = Tensor::zeros([num as i64], (Kind::Float, device));
    let finished = || Readout::of(&tensor.narrow(0, 0, 1)).and_then(|readout| readout.value());
    for _ in 0..WARM_UP {
        ddp.sum(&tensor)?;
    }
    finished()?;
    ddp.barrier()?;
    let start = Instant::now();
    for _ in 0..NUM_TIMED {
        ddp.sum(&tensor)?;
    }
    finished()?;
    Ok(start.elapsed().as_secs_f64() * 1e6 / NUM_TIMED as f64)
}

/// An error unless every number of the sum is right.
fn check_sum(
    ddp: &Ddp,
    (num, rank, world_size): (usize, usize, usize),
    device: Device,
) -> Result<(), TrainError> {
    let tensor = Tensor::full([num as i64], rank as f64 + 1.0, (Kind::Float, device));
    ddp.sum(&tensor)?;
    let expected = (world_size * (world_size + 1) / 2) as f64;
    let num_wrong = tensor.not_equal(expected).sum(Kind::Int64);
    let num_wrong = i64::try_from(&num_wrong).expect("one number");
    if num_wrong > 0 {
        return Err(TrainError::Unavailable(format!(
            "{num_wrong} of {num} sums are wrong; check the network and the memory of the machines"
        )));
    }
    Ok(())
}
