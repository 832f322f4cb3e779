//! `mlperf-run data import`: packs a data set into a store.

use std::{
    io,
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::{
    cli::{
        exit::{Exit, OrExit as _, Outcome},
        store_text::{describe, hidden_text},
        threads,
    },
    console::{self, Counter, Manner},
    data::import::{self, Exif, Import, Manifest, OnBad, StoreError},
};

/// Arguments of `data import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mlperf-run data import /path/to/imagenet --out imagenet
  mlperf-run data import /path/to/imagenet --out shrunk --max-side 256,500")]
pub(super) struct ImportArgs {
    /// Data set: a folder whose train and val contain CLASS/*.JPEG, archives or shards; with
    /// --val-share, a folder of class folders
    source: PathBuf,
    /// Output folder, new or from an interrupted import
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Shrink training images to this longest side; several values make several stores (open
    /// division)
    #[arg(long, value_name = "PX", value_delimiter = ',')]
    max_side: Vec<usize>,
    /// What to do with a bad image
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    on_bad: OnBad,
    /// What to do with the orientation that a camera wrote into an image; `apply` turns it (open
    /// division)
    #[arg(long, value_name = "WHAT", default_value = "ignore")]
    exif: Exif,
    /// Split class folders without train and val: this fraction of each class becomes validation images
    /// (open division)
    #[arg(long, value_name = "FRACTION")]
    val_share: Option<f64>,
    /// Seed for the order of training images, and for --val-share
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = threads::parser())]
    threads: Option<usize>,
}

/// Runs the command.
pub(super) fn import(args: &ImportArgs) -> Outcome {
    let request = Import {
        source: args.source.canonicalize().unwrap_or_else(|_| args.source.clone()),
        max_sides: args.max_side.clone(),
        on_bad: args.on_bad,
        exif: args.exif,
        val_share: args.val_share,
        seed: args.seed,
    };
    let started = Instant::now();
    let num_threads = args.threads.unwrap_or_else(threads::num_cores);
    let stores = {
        let dataset = import::open_source(&request, &args.out).or_exit(Exit::Invalid)?;
        if let Some(text) = hidden_text(dataset.num_hidden()) {
            console::note(text);
        }
        // Until now there is no partial output that a signal could leave behind.
        let stop = stop_on_signals().or_exit(Exit::Bug)?;
        let total = dataset.train.len() + dataset.eval.len();
        let counter = Counter::new(Manner::of_stderr(), "importing", total);
        let progress = |done| {
            counter.set(done);
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        import::import(&request, &args.out, num_threads, &progress)
    };
    if let Err(error @ StoreError::Interrupted) = &stores {
        console::note(error);
        return Ok(Exit::Incomplete);
    }
    for folder in stores.or_exit(Exit::Invalid)? {
        let manifest = Manifest::read(&folder).or_exit(Exit::Invalid)?;
        describe(&manifest);
        console::result(folder.display());
    }
    console::note(format!("done in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(Exit::Ok)
}

/// Set by the first SIGINT or SIGTERM; a second signal ends the program at once.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let code = Exit::Incomplete as i32;
        flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
