//! `mlperf-run bench allreduce`: benchmarks the sum over ranks, in the way of nccl-tests.

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::{Context, bail};

use super::exit::{Exit, OrExit as _, Outcome};
use crate::{
    console,
    events::AllReduceRate,
    launch::{
        Libtorch, Machine, MasterPort, RankLayout, TaskRanks, find_rank_program, measure_all_reduce,
    },
    recipe::{self, DeviceChoice, IMAGENET, Precision, Recipe},
    run_dir,
};

/// Arguments of `bench allreduce`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  mlperf-run bench allreduce --nproc 8 --sizes 25M,98M")]
pub(super) struct BenchAllReduceArgs {
    /// Number of ranks [default: all GPUs, or 2 on CPUs]
    #[arg(long, value_name = "N")]
    nproc: Option<NonZeroUsize>,
    /// Device to measure
    #[arg(long, value_enum, value_name = "auto|cpu|cuda", hide_possible_values = true)]
    #[arg(default_value = "auto")]
    device: DeviceChoice,
    /// Sizes of the tensors: bytes, or with K, M or G; 98M is about the gradients of ResNet-50
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = size)]
    #[arg(default_values = ["1K", "32K", "1M", "25M", "98M"])]
    sizes: Vec<usize>,
    /// Folder of libtorch 2.11.0
    #[arg(long, value_name = "DIR")]
    libtorch: Option<PathBuf>,
    /// Print a line of JSON per size
    #[arg(long)]
    json: bool,
}

/// Bytes from a number with K, M or G for 1024, 1024^2 or 1024^3, as in nccl-tests.
fn size(text: &str) -> anyhow::Result<usize> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    match number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(bytes @ 4..=0x4_0000_0000) => Ok(bytes),
        _ => bail!("it is not from 4 bytes to 16G; give a size such as 25M"),
    }
}

pub(super) fn run(args: &BenchAllReduceArgs) -> Outcome {
    let num_ranks = args.nproc.map_or(0, NonZeroUsize::get);
    let machine = Machine::detect();
    let rank_layout =
        RankLayout::detect(args.device, num_ranks, &machine).or_exit(Exit::Invalid)?;
    if rank_layout.num_ranks < 2 {
        let error = anyhow::anyhow!("one rank has nothing to sum; give --nproc 2 or more");
        return Err(error).or_exit(Exit::Invalid);
    }
    let libtorch = Libtorch::find(args.libtorch.as_deref()).or_exit(Exit::Invalid)?;
    let program = find_rank_program().or_exit(Exit::Invalid)?;
    let folder = tempfile::tempdir().or_exit(Exit::Invalid)?;
    write_recipe(&rank_layout, folder.path()).or_exit(Exit::Invalid)?;
    let ranks = TaskRanks {
        program: &program,
        libtorch: &libtorch,
        rank_layout: &rank_layout,
        run_dir: folder.path(),
    };
    if !args.json {
        console::result("device  ranks         bytes     time us  alg GB/s  bus GB/s");
    }
    let mut show = |rate: &AllReduceRate| {
        console::result(if args.json { rate.to_line() } else { row(rate) });
    };
    let port = MasterPort::Free.settle("127.0.0.1").or_exit(Exit::Invalid)?;
    measure_all_reduce(&ranks, port, &args.sizes, &mut show).or_exit(Exit::Invalid)?;
    Ok(Exit::Ok)
}

/// The ranks take the device and the timeouts from a recipe.
fn write_recipe(rank_layout: &RankLayout, folder: &std::path::Path) -> anyhow::Result<()> {
    let mut file = recipe::load(&recipe::find("baseline-1gpu")?, &[])?;
    file.run.device = rank_layout.device.into();
    file.train.precision = Precision::Fp32;
    (file.data.path, file.data.synth) = (None, None);
    let recipe = Recipe::resolve(file, &IMAGENET)?.to_toml();
    std::fs::write(folder.join(run_dir::RECIPE), recipe)
        .with_context(|| format!("cannot write {}", folder.display()))
}

fn row(rate: &AllReduceRate) -> String {
    let AllReduceRate { device, world_size, num_bytes, time_us, algorithm_gb_s, bus_gb_s } = rate;
    format!(
        "{device:<6}  {world_size:>5}  {num_bytes:>12}  {time_us:>10.1}  {algorithm_gb_s:>8.2}  \
         {bus_gb_s:>8.2}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [("4", 4), ("32K", 32 << 10), ("98m", 98 << 20), ("1G", 1 << 30)] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "K", "3", "1T", "-1", "17G", "99999999999999999999G"] {
            assert!(size(text).unwrap_err().to_string().contains("such as 25M"), "{text}");
        }
    }
}
