//! `mlperf-run bench`: measures this machine.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::cli::bench_step::{self, BenchStepArgs};
use crate::cli::exit::{Exit, Failure, OrExit as _, Outcome};
use crate::console;
use crate::data::bench::{DEMANDS, Rates, Shares, measure};
use crate::data::{
    ColdEpoch, Index, Interpolation, RamCache, ReadAhead, Split, Stall, TrainTransform,
    measure_cold,
};

/// What `mlperf-run bench` takes.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// How fast pictures can be read, decoded, cropped and resized, and how many GPUs that feeds
    Data(BenchDataArgs),
    /// How fast one device trains: images/s, ms by part, share of what its arithmetic can do
    Step(BenchStepArgs),
}

#[derive(Debug, Args)]
struct BenchDataArgs {
    /// Data set: a folder whose train holds CLASS/*.JPEG, archives or shards
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Sides of the crops, px
    #[arg(long, value_name = "PX", value_delimiter = ',', default_values_t = [88, 176, 224])]
    side: Vec<usize>,
    /// Decoding threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Images to measure, of each side
    #[arg(long, value_name = "N", default_value_t = 2048)]
    num: usize,
    /// Filter of the resize: area, bilinear, bicubic or nearest
    #[arg(long, value_name = "FILTER", default_value = "area")]
    interpolation: Interpolation,
    /// Decode large crops at a half, quarter or eighth of their size
    #[arg(long)]
    dct_scale: bool,
    /// Keep decoded pictures of the first pass in memory: off, auto or a size as 4GiB
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = cache_size)]
    ram_cache: RamCache,
    /// Drop the pictures from memory first, and compare with the disk's own rate
    #[arg(long)]
    cold: bool,
    /// Cold: take blocks of neighbours in random order, as `data.train.block_shuffle` does
    #[arg(long, requires = "cold")]
    block_shuffle: bool,
    /// Cold: what is read besides what batches ask for; stream: archives and shards, from front to
    /// back, as a run does from its start
    #[arg(long, requires = "cold", value_enum, value_name = "batches|stream")]
    #[arg(hide_possible_values = true, default_value = "batches")]
    ahead: ReadAhead,
}

fn cache_size(text: &str) -> Result<RamCache, String> {
    text.to_owned().try_into()
}

/// Runs the verb.
pub fn run(args: &BenchArgs) -> Outcome {
    match &args.command {
        BenchCommand::Data(args) => data(args),
        BenchCommand::Step(args) => bench_step::run(args),
    }
}

fn data(args: &BenchDataArgs) -> Outcome {
    if let Some(side) = args.side.iter().find(|side| !(8..=1024).contains(*side)) {
        let error = anyhow::anyhow!("--side {side} is out of range; give 8 to 1024 px");
        return Err(Failure { exit: Exit::Usage, error });
    }
    let index = Arc::new(Index::open(&args.data, Split::Train).or_exit(Exit::Invalid)?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let num_threads = args.threads.unwrap_or(cores).max(1);
    let transform = TrainTransform {
        interpolation: args.interpolation,
        dct_scale: args.dct_scale,
        ram_cache: args.ram_cache,
        block_shuffle: args.block_shuffle,
        ..TrainTransform::default()
    };
    if args.cold {
        return cold(args, &index, (num_threads, transform));
    }
    let threads = console::counted(num_threads, "thread");
    console::result(format!("{threads}, files from memory after a first pass"));
    console::result(
        " side  images/s  images/s/core     MB/s  reading  huffman  idct+colour  resizing",
    );
    let mut stall = Stall::default();
    for &side in &args.side {
        let rates = measure(&index, (side, transform), num_threads, args.num);
        let rates = rates.or_exit(Exit::Invalid)?;
        console::result(line(&rates));
        console::note(feeds(&rates, num_threads, cores));
        stall = stall.plus(&rates.stall);
    }
    console::note(advice(&stall));
    Ok(Exit::Ok)
}

fn cold(
    args: &BenchDataArgs,
    index: &Arc<Index>,
    (num_threads, transform): (usize, TrainTransform),
) -> Outcome {
    console::result(" side  images  images/s  MB/s cold  MB/s of the disk in order  share");
    let (num_images, ahead) = (args.num, args.ahead);
    for &side in &args.side {
        let epoch = ColdEpoch { side, transform, num_threads, num_images, ahead };
        let rates = measure_cold(index, &epoch).or_exit(Exit::Invalid)?;
        console::result(format!(
            "{side:5}  {:6}  {:8.0}  {:9.1}  {:25.1}  {:4.2}",
            rates.num_images,
            rates.images_per_s,
            rates.bytes_per_s / 1e6,
            rates.disk_bytes_per_s / 1e6,
            rates.bytes_per_s / rates.disk_bytes_per_s,
        ));
    }
    Ok(Exit::Ok)
}

/// What the threads did, and what would let them do more.
fn advice(stall: &Stall) -> String {
    let busy_s = (stall.read_s + stall.decode_s).max(f64::MIN_POSITIVE);
    let [read, decode] = [stall.read_s, stall.decode_s].map(|part_s| 100.0 * part_s / busy_s);
    // All the time is waited for data here, as nobody trains.
    let cure = stall.bound(stall.wait_s).cure().unwrap_or_default();
    format!("threads read {read:.0} % and decode {decode:.0} % of their time; for more, {cure}")
}

fn line(rates: &Rates) -> String {
    let Shares { read, huffman, idct, resize } = rates.shares;
    let [read, huffman, idct, resize] = [read, huffman, idct, resize].map(|share| 100.0 * share);
    format!(
        "{:5}  {:8.0}  {:13.0}  {:7.1}  {read:5.1} %  {huffman:5.1} %  {idct:9.1} %  {resize:6.1} %",
        rates.side,
        rates.images_per_s,
        rates.images_per_core_s,
        rates.bytes_per_s / 1e6,
    )
}

/// How many accelerators this machine would feed with all its cores.
fn feeds(rates: &Rates, num_threads: usize, cores: usize) -> String {
    let rate = rates.images_per_s * (cores as f64 / num_threads as f64).max(1.0);
    let known = |demand: &&crate::data::bench::Demand| {
        demand.side == rates.side
            || !DEMANDS
                .iter()
                .any(|other| (other.accelerator, other.side) == (demand.accelerator, rates.side))
                && demand.side == 224
    };
    let each: Vec<String> = DEMANDS
        .iter()
        .filter(known)
        .map(|demand| {
            let needed = demand.at(rates.side);
            let estimated = if demand.side == rates.side { "" } else { ", by pixels" };
            let (accelerator, source) = (demand.accelerator, demand.source);
            format!(
                "{:.1} {accelerator} ({needed:.0} images/s each, {source}{estimated})",
                rate / needed
            )
        })
        .collect();
    let cores = console::counted(cores, "core");
    format!("       {} px on {cores} feeds {}", rates.side, each.join(", "))
}
