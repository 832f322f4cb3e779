//! `mlperf-run bench`: benchmarks this machine.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};

use crate::{
    cli::{
        bench_all_reduce::{self, BenchAllReduceArgs},
        bench_step::{self, BenchStepArgs},
        exit::{Exit, Failure, OrExit as _, Outcome},
        feeds::Feeding,
        threads,
    },
    console,
    data::{
        ColdEpoch, Index, Interpolation, LoaderContext, LoaderStats, Order, RamCache, ReadAhead,
        Split, StoreDivision, TrainTransform,
        bench::{DEMANDS, Demand, Fractions, Rates, measure},
        measure_cold,
    },
    recipe::StepRate,
};

/// Arguments of `mlperf-run bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mlperf-run bench data --data /path/to/imagenet
  mlperf-run bench step --recipe optimized-1gpu")]
pub struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// How fast images can be read, decoded, cropped and resized, and how many GPUs that feeds
    Data(BenchDataArgs),
    /// How fast one device trains: images/s, ms per phase, fraction of peak arithmetic
    Step(BenchStepArgs),
    /// How fast ranks sum their gradients: algorithm and bus bandwidth by size, as nccl-tests has them
    #[command(name = "allreduce")]
    AllReduce(BenchAllReduceArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  mlperf-run bench data --data /path/to/imagenet --recipe optimized")]
struct BenchDataArgs {
    /// Data set: a folder whose train contains CLASS/*.JPEG, archives or shards
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Use the transforms of this recipe, and compute how many accelerators they feed
    #[arg(long, value_name = "RECIPE")]
    #[arg(conflicts_with_all = ["interpolation", "dct_scale", "ram_cache"])]
    recipe: Option<String>,
    /// Override a value of the recipe, as in `data.train.dct_scale=true`
    #[arg(long = "set", requires = "recipe", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Throughput of accelerators: a table such as configs/throughput/*.toml, or the folder of a
    /// run [default: 8 A100 of MLPerf Training v2.0]
    #[arg(long, requires = "recipe", value_name = "FILE")]
    throughput: Option<PathBuf>,
    /// Crop sizes, px [default: 88,176,224, or some of the recipe's]
    #[arg(long = "side", value_name = "PX", value_delimiter = ',')]
    image_size: Vec<usize>,
    /// Decoding threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = threads::parser())]
    threads: Option<usize>,
    /// Images to measure per crop size
    #[arg(long, value_name = "N", default_value_t = 2048)]
    num: usize,
    /// Filter of the resize: area, bilinear, bicubic or nearest
    #[arg(long, value_name = "FILTER", default_value = "area")]
    interpolation: Interpolation,
    /// Decode large crops at a half, quarter or eighth of their size
    #[arg(long)]
    dct_scale: bool,
    /// Cache decoded images of the first pass in memory: off, auto or a size such as 4GiB
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = cache_size)]
    ram_cache: RamCache,
    /// Drop the images from memory first, and compare with the disk's own rate
    #[arg(long)]
    cold: bool,
    /// With --cold: read blocks of adjacent images in random order, as `data.train.block_shuffle`
    /// does
    #[arg(long, requires = "cold")]
    block_shuffle: bool,
    /// With --cold: what to read; stream reads archives and shards from front to back as well, as a
    /// run does from its start
    #[arg(long, requires = "cold", value_enum, value_name = "batches|stream")]
    #[arg(hide_possible_values = true, default_value = "batches")]
    ahead: ReadAhead,
}

fn cache_size(text: &str) -> Result<RamCache, String> {
    text.to_owned().try_into()
}

/// Runs the command.
pub fn run(args: &BenchArgs) -> Outcome {
    match &args.command {
        BenchCommand::Data(args) => data(args),
        BenchCommand::Step(args) => bench_step::run(args),
        BenchCommand::AllReduce(args) => bench_all_reduce::run(args),
    }
}

/// The transforms to measure, from a recipe or from flags.
struct Asked {
    fed: Option<Feeding>,
    image_sizes: Vec<usize>,
    transform: TrainTransform,
}

impl Asked {
    fn of(args: &BenchDataArgs) -> Result<Self, Failure> {
        let fed = args.recipe.as_deref().map(|recipe| {
            Feeding::of(recipe, &args.overrides, args.throughput.as_deref()).or_exit(Exit::Invalid)
        });
        let fed = fed.transpose()?;
        let image_sizes = match (args.image_size.as_slice(), &fed) {
            ([], Some(fed)) => fed.image_sizes(),
            ([], None) => vec![88, 176, 224],
            (image_sizes, _) => image_sizes.to_owned(),
        };
        if let Some(image_size) =
            image_sizes.iter().find(|image_size| !(8..=1024).contains(*image_size))
        {
            let error =
                anyhow::anyhow!("side {image_size} is out of range; set --side to 8 to 1024 px");
            return Err(Failure { exit: Exit::Usage, error });
        }
        let typed = TrainTransform {
            interpolation: args.interpolation,
            dct_scale: args.dct_scale,
            ram_cache: args.ram_cache,
            ..TrainTransform::default()
        };
        let mut transform = fed.as_ref().map_or(typed, Feeding::transform);
        transform.block_shuffle |= args.block_shuffle;
        Ok(Self { fed, image_sizes, transform })
    }
}

fn data(args: &BenchDataArgs) -> Outcome {
    let Asked { fed, image_sizes, transform } = Asked::of(args)?;
    let index = Arc::new(Index::open(&args.data, Split::Train).or_exit(Exit::Invalid)?);
    let cores = threads::num_cores();
    let num_threads = args.threads.unwrap_or(cores);
    if args.cold {
        return cold(args, &index, &image_sizes, (num_threads, transform));
    }
    let counted = console::counted(num_threads, "thread");
    console::result(format!("{counted}, files from memory after a first pass"));
    console::result(
        " side  images/s  images/s/core     MB/s  reading  huffman  idct+colour  resizing",
    );
    let (mut stats, mut given) = (LoaderStats::default(), Vec::new());
    for &image_size in &image_sizes {
        let rates = measure(&index, (image_size, transform), num_threads, args.num);
        let rates = rates.or_exit(Exit::Invalid)?;
        console::result(line(&rates));
        // The rate of all cores.
        let images_per_s = rates.images_per_s * (cores as f64 / num_threads as f64).max(1.0);
        given.push(StepRate { image_size, images_per_s });
        if fed.is_none() {
            console::note(feeds((image_size, images_per_s), cores));
        }
        stats = stats.plus(&rates.stats);
    }
    let known = LoaderContext {
        store: index.division(),
        division: StoreDivision::OpenOnly,
        num_threads,
        num_cores: cores,
        image_size: image_sizes.iter().copied().min().unwrap_or(0),
        order: Order::Keyed,
        transform,
    };
    if let Some(fed) = fed {
        let verdict = fed.verdict(given, cores).map_err(anyhow::Error::msg);
        console::note(verdict.or_exit(Exit::Invalid)?);
    }
    console::note(advice(&stats, &known));
    Ok(Exit::Ok)
}

fn cold(
    args: &BenchDataArgs,
    index: &Arc<Index>,
    image_sizes: &[usize],
    (num_threads, transform): (usize, TrainTransform),
) -> Outcome {
    console::result(" side  images  images/s  MB/s cold  MB/s of the disk in order  ratio");
    let (num_images, ahead) = (args.num, args.ahead);
    for &image_size in image_sizes {
        let epoch = ColdEpoch { image_size, transform, num_threads, num_images, ahead };
        let rates = measure_cold(index, &epoch).or_exit(Exit::Invalid)?;
        console::result(format!(
            "{image_size:5}  {:6}  {:8.0}  {:9.1}  {:25.1}  {:4.2}",
            rates.num_images,
            rates.images_per_s,
            rates.bytes_per_s / 1e6,
            rates.disk_bytes_per_s / 1e6,
            rates.bytes_per_s / rates.disk_bytes_per_s,
        ));
    }
    Ok(Exit::Ok)
}

/// How the threads spent their time, and how to make them faster.
fn advice(stats: &LoaderStats, known: &LoaderContext) -> String {
    let busy_s = (stats.read_s + stats.decode_s).max(f64::MIN_POSITIVE);
    let [read, decode] = [stats.read_s, stats.decode_s].map(|part_s| 100.0 * part_s / busy_s);
    // All of the time counts as waiting for data, because nothing trains.
    let remedy = known.remedy(stats.bound(stats.wait_s)).unwrap_or_default();
    format!("threads read {read:.0} % and decode {decode:.0} % of their time; for more, {remedy}")
}

fn line(rates: &Rates) -> String {
    let Fractions { read, huffman, idct, resize } = rates.fractions;
    let [read, huffman, idct, resize] =
        [read, huffman, idct, resize].map(|fraction| 100.0 * fraction);
    format!(
        "{:5}  {:8.0}  {:13.0}  {:7.1}  {read:5.1} %  {huffman:5.1} %  {idct:9.1} %  {resize:6.1} \
         %",
        rates.image_size,
        rates.images_per_s,
        rates.images_per_core_s,
        rates.bytes_per_s / 1e6,
    )
}

/// How many accelerators a machine feeds that produces `images_per_s` at `image_size`.
fn feeds((image_size, images_per_s): (usize, f64), cores: usize) -> String {
    /// Below this size, the step has too many costs that do not depend on the number of pixels.
    const BY_PIXELS_FROM: usize = 128;
    let known = |demand: &&Demand| {
        let same = |other: &Demand| {
            (other.accelerator, other.image_size) == (demand.accelerator, image_size)
        };
        demand.image_size == image_size || !DEMANDS.iter().any(same) && demand.image_size == 224
    };
    let each: Vec<String> = DEMANDS
        .iter()
        .filter(known)
        .map(|demand| {
            let needed = demand.at(image_size);
            let estimated = match demand.image_size {
                known if known == image_size => "",
                _ if image_size < BY_PIXELS_FROM => ", by pixels: an upper bound",
                _ => ", by pixels",
            };
            let (accelerator, source) = (demand.accelerator, demand.source);
            format!(
                "{:.1} {accelerator} ({needed:.0} images/s each, {source}{estimated})",
                images_per_s / needed
            )
        })
        .collect();
    let cores = console::counted(cores, "core");
    format!("       {image_size} px on {cores} feeds {}", each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_size_is_exact_and_a_scaled_one_may_be_a_bound() {
        let said = feeds((88, 8120.0), 8);
        assert!(
            said.contains("8 cores feeds 2.0 A100 (4060 images/s each, MosaicML, v2.0)"),
            "{said}"
        );
        assert!(
            said.contains("H100 (46262 images/s each, closed, v4.0, by pixels: an upper bound)")
        );
        let said = feeds((224, 8120.0), 8);
        assert!(said.contains("2.3 A100 (3500 images/s each, closed, v3.0)"), "{said}");
        assert!(!said.contains("by pixels"), "{said}");
        assert!(feeds((160, 1.0), 8).contains("by pixels)"), "from 128 px on an estimate");
    }
}
