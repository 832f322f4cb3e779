//! `mlperf-run data`: makes, imports, inspects and verifies data sets.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use clap::{Args, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cli::exit::{Exit, Failure, OrExit as _, Outcome};
use crate::cli::threads;
use crate::console::{self, Counter, Manner};
use crate::data::inspect::{self, Quantiles, SplitSurvey};
use crate::data::store::{self, Division, Import, Manifest, Note, OnBad, StoreError};
use crate::data::synth::{self, SynthError};
use crate::data::{Dataset, SynthConfig};

/// What `mlperf-run data` takes.
#[derive(Debug, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Draw the built-in image set and print its folder
    Synth(SynthArgs),
    /// Pack a data set into a store that trains fastest, and print its folder
    Import(ImportArgs),
    /// Show counts, sizes and pictures of a data set
    Inspect(InspectArgs),
    /// Read a store again and compare it with its hashes
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// Data set: a folder whose train and val hold CLASS/*.JPEG, archives or shards
    source: PathBuf,
    /// Folder to write to, new or of an import that was cut off
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Shrink training pictures to this longest side; several make a store each (open division)
    #[arg(long, value_name = "PX", value_delimiter = ',')]
    max_side: Vec<usize>,
    /// What a bad picture leads to
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    on_bad: OnBad,
    /// Seed of the order of training pictures
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = threads::parser())]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// Data set of any kind
    data: PathBuf,
    /// Draw random pictures and crops of them on a sheet
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Pictures whose headers are read, of each split
    #[arg(long, value_name = "N", default_value_t = 2000)]
    num: usize,
    /// Seed of the choice of pictures
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Folder of the store
    store: PathBuf,
}

#[derive(Debug, Args)]
struct SynthArgs {
    /// Folder to write to, new or empty [default: one in the cache, made once]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Classes, 2 to 1024
    #[arg(long, value_name = "N", default_value_t = SynthConfig::default().num_classes)]
    num_classes: usize,
    /// Training images, over all classes
    #[arg(long, value_name = "N", default_value_t = SynthConfig::default().num_train)]
    num_train: usize,
    /// Validation images, over all classes
    #[arg(long, value_name = "N", default_value_t = SynthConfig::default().num_eval)]
    num_eval: usize,
    /// About the long side of a picture, 32 to 4096 pixels
    #[arg(long, value_name = "PX", default_value_t = SynthConfig::default().size)]
    size: usize,
    /// Clutter, colour noise, jitter and occlusion, 0 (easy) to 1
    #[arg(long, value_name = "X", default_value_t = SynthConfig::default().difficulty)]
    difficulty: f64,
    /// Seed of classes and pictures
    #[arg(long, value_name = "N", default_value_t = SynthConfig::default().seed)]
    seed: u64,
}

/// Runs the verb.
pub fn run(args: &DataArgs) -> Outcome {
    match &args.command {
        DataCommand::Synth(args) => synth(args),
        DataCommand::Import(args) => import(args),
        DataCommand::Inspect(args) => inspect(args),
        DataCommand::Verify(args) => verify(args),
    }
}

fn import(args: &ImportArgs) -> Outcome {
    let request = Import {
        source: args.source.canonicalize().unwrap_or_else(|_| args.source.clone()),
        max_sides: args.max_side.clone(),
        on_bad: args.on_bad,
        seed: args.seed,
    };
    let started = Instant::now();
    let num_threads = args.threads.unwrap_or_else(threads::num_cores);
    let stores = {
        let dataset = store::open_source(&request.source, &args.out).or_exit(Exit::Invalid)?;
        // Up to here nothing is half done that a signal could leave.
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
        store::import(&request, &args.out, num_threads, &progress)
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

/// Set by the first SIGINT or SIGTERM; a second one ends the program at once.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let code = Exit::Incomplete as i32;
        flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn describe(manifest: &Manifest) {
    /// Notes that are shown; the manifest has them all.
    const MAX_NOTES: usize = 20;
    let bytes: u64 = manifest.shards.iter().map(|shard| shard.bytes).sum();
    console::note(format!(
        "{} training and {} validation images of {} classes, {:.1} MB in {}, {}",
        manifest.num_train,
        manifest.num_eval,
        manifest.classes.len(),
        bytes as f64 / 1e6,
        console::counted(manifest.shards.len(), "shard"),
        division_text(manifest),
    ));
    for (what, notes) in [("mended", &manifest.mended), ("left out", &manifest.skipped)] {
        for Note { path, reason } in notes.iter().take(MAX_NOTES) {
            console::note(format!("{what}: {}: {reason}", path.display()));
        }
        if notes.len() > MAX_NOTES {
            console::note(format!("{what}: {} more, in manifest.json", notes.len() - MAX_NOTES));
        }
    }
}

/// The division of a store, and all that made its pictures others than they were.
fn division_text(manifest: &Manifest) -> String {
    let (num_mended, num_skipped) = (manifest.mended.len(), manifest.skipped.len());
    let odd = format!("{num_mended} mended, {num_skipped} left out");
    match (manifest.division, manifest.max_side) {
        (Division::ClosedSafe, _) if num_mended + num_skipped == 0 => {
            "closed-safe (no picture was changed)".to_owned()
        }
        (Division::ClosedSafe, _) => format!("closed-safe ({odd}, no other was changed)"),
        (Division::OpenOnly, Some(side)) => {
            format!("open-only (training pictures of at most {side} px, {odd})")
        }
        (Division::OpenOnly, None) => format!("open-only (training pictures were shrunk, {odd})"),
    }
}

fn verify(args: &VerifyArgs) -> Outcome {
    match store::stores_in(&args.store).or_exit(Exit::Invalid)?.as_slice() {
        // Which says why it is none.
        [] => verify_store(&args.store)?,
        stores => stores.iter().try_for_each(|store| verify_store(store))?,
    }
    Ok(Exit::Ok)
}

fn verify_store(folder: &Path) -> Result<(), Failure> {
    let manifest = {
        let manifest = Manifest::read(folder).or_exit(Exit::Invalid)?;
        let bytes: u64 = manifest.shards.iter().map(|shard| shard.bytes).sum();
        let counter = Counter::new(Manner::of_stderr(), "reading MB", (bytes / 1_000_000) as usize);
        let progress = |done| counter.set((done / 1_000_000) as usize);
        store::verify(folder, &progress).or_exit(Exit::Invalid)?
    };
    describe(&manifest);
    let num_shards = console::counted(manifest.shards.len(), "shard");
    console::result(format!("{num_shards} as written: {}", folder.display()));
    Ok(())
}

fn inspect(args: &InspectArgs) -> Outcome {
    let dataset = Dataset::open(&args.data).or_exit(Exit::Invalid)?;
    let stores = store::stores_in(&args.data).or_exit(Exit::Invalid)?;
    for folder in &stores {
        let manifest = Manifest::read(folder).or_exit(Exit::Invalid)?;
        let name = folder.strip_prefix(&args.data).unwrap_or(folder).display().to_string();
        let name = if name.is_empty() { name } else { format!(" {name}") };
        console::result(format!("store{name}: {}", division_text(&manifest)));
    }
    if stores.is_empty() && dataset.division() == Some(Division::OpenOnly) {
        console::result("store without a manifest: open-only (training pictures were shrunk)");
    }
    for (name, index) in [("train", &dataset.train), ("val", &dataset.eval)] {
        let survey = inspect::survey(index, args.num, args.seed);
        console::result(survey_text(name, &survey));
        for (max_side, smaller) in index.smaller() {
            let survey = inspect::survey(smaller, args.num, args.seed);
            console::result(survey_text(&format!("{name} up to {max_side} px"), &survey));
        }
    }
    if let Some(path) = &args.sheet {
        inspect::contact_sheet(&dataset.train, args.seed, path).or_exit(Exit::Invalid)?;
        console::note(format!("pictures, and crops of them, are in {}", path.display()));
    }
    Ok(Exit::Ok)
}

fn survey_text(name: &str, survey: &SplitSurvey) -> String {
    let with = |Quantiles { least, median, greatest }: &Quantiles, decimals: usize| {
        format!("{least:.decimals$} / {median:.decimals$} / {greatest:.decimals$}")
    };
    let quantiles = |quantiles: &Quantiles| with(quantiles, 0);
    let mut text = format!(
        "{name}: {} of {} classes, least / median / greatest\n  images of a class  {}\n  width, px          \
         {}\n  height, px         {}\n  width / height     {}\n  bytes of a file    {}\n  \
         of {} looked at: {} progressive, {} with restart markers, {} bad",
        console::counted(survey.num_images, "image"),
        survey.num_classes,
        quantiles(&survey.class_sizes),
        quantiles(&survey.widths),
        quantiles(&survey.heights),
        with(&survey.aspects, 2),
        quantiles(&survey.bytes),
        survey.num_looked_at,
        survey.num_progressive,
        survey.num_with_restarts,
        survey.bad.len(),
    );
    for (path, reason) in survey.bad.iter().take(20) {
        text = format!("{text}\n  bad: {}: {reason}", path.display());
    }
    text
}

fn synth(args: &SynthArgs) -> Outcome {
    let started = Instant::now();
    let num_written = AtomicUsize::new(0);
    let folder = {
        let counter = Counter::new(Manner::of_stderr(), "drawing", args.num_train + args.num_eval);
        let progress = |done| {
            num_written.fetch_max(done, Ordering::Relaxed);
            counter.set(done);
        };
        args.make(&progress).or_exit(Exit::Invalid)?
    };
    let (num_train, num_eval) = (args.num_train, args.num_eval);
    let set = format!("{num_train} training and {num_eval} validation images");
    match num_written.into_inner() {
        0 => console::note(format!("{set} were there already")),
        num_images => {
            let time_s = started.elapsed().as_secs_f64();
            let rate = num_images as f64 / time_s;
            console::note(format!("wrote {set} in {time_s:.1} s, {rate:.0} images/s"));
        }
    }
    console::result(folder.display());
    Ok(Exit::Ok)
}

impl SynthArgs {
    fn config(&self) -> SynthConfig {
        SynthConfig {
            num_classes: self.num_classes,
            num_train: self.num_train,
            num_eval: self.num_eval,
            size: self.size,
            difficulty: self.difficulty,
            seed: self.seed,
        }
    }

    fn make(&self, progress: &(dyn Fn(usize) + Sync)) -> Result<PathBuf, SynthError> {
        match &self.out {
            None => synth::ensure(&self.config(), &synth::default_root(), Some(progress)),
            Some(folder) => {
                synth::write(&self.config(), folder, Some(progress))?;
                Ok(folder.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        data: DataArgs,
    }

    fn run_line(options: &str, out: &Path) -> Outcome {
        let words = ["data", "synth", "--out"].map(OsString::from).into_iter();
        let options = options.split_whitespace().map(OsString::from);
        let line = words.chain([out.into()]).chain(options);
        run(&Cli::try_parse_from(line).unwrap().data)
    }

    #[test]
    fn synth_fills_a_folder_and_takes_it_again() {
        let out = tempfile::TempDir::new().unwrap();
        let options = "--num-classes 2 --num-train 4 --num-eval 2 --size 32 --seed 9";
        for _ in 0..2 {
            assert_eq!(run_line(options, out.path()).unwrap(), Exit::Ok);
        }
        assert!(out.path().join("train/c0001/c0001_00000003.JPEG").exists());
        let failure = run_line("--num-classes 2", out.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        let message = failure.error.to_string();
        assert!(
            message.ends_with("holds no set of this config; name an empty folder"),
            "{message}"
        );
    }

    #[test]
    fn a_store_is_imported_inspected_verified_and_found_damaged() {
        let (source, out) = (tempfile::TempDir::new().unwrap(), tempfile::TempDir::new().unwrap());
        run_line("--num-classes 2 --num-train 6 --num-eval 2 --size 48", source.path()).unwrap();
        let run = |words: &[&std::ffi::OsStr]| {
            let words = [std::ffi::OsStr::new("data")].into_iter().chain(words.iter().copied());
            run(&Cli::try_parse_from(words).unwrap().data)
        };
        let (from, to) = (source.path().as_os_str(), out.path().as_os_str());
        let word = std::ffi::OsStr::new;
        assert_eq!(run(&[word("import"), from, word("--out"), to]).unwrap(), Exit::Ok);
        let sheet = out.path().join("sheet.png");
        let inspect = [word("inspect"), to, word("--sheet"), sheet.as_os_str()];
        assert_eq!(run(&inspect).unwrap(), Exit::Ok);
        assert!(std::fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
        assert_eq!(run(&[word("verify"), to]).unwrap(), Exit::Ok);
        let shard = out.path().join("train-00000.arrow");
        let len = std::fs::metadata(&shard).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&shard).unwrap().set_len(len - 1).unwrap();
        let failure = run(&[word("verify"), to]).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert!(failure.error.to_string().contains("train-00000.arrow"), "{}", failure.error);
        let failure = run(&[word("verify"), from]).unwrap_err();
        assert!(failure.error.to_string().contains("is no store"), "{}", failure.error);
    }

    #[test]
    fn a_store_is_called_unchanged_only_where_it_is() {
        let note = Note { path: "x.JPEG".into(), reason: "a PNG".into() };
        let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
            "version": 1, "division": "closed-safe", "max_side": null, "source": "", "seed": 0,
            "classes": [], "num_train": 0, "num_eval": 0, "shards": [], "mended": [], "skipped": [],
        }))
        .unwrap();
        assert_eq!(division_text(&manifest), "closed-safe (no picture was changed)");
        manifest.mended = vec![note.clone(); 22];
        manifest.skipped = vec![note; 3];
        let odd = "closed-safe (22 mended, 3 left out, no other was changed)";
        assert_eq!(division_text(&manifest), odd);
        (manifest.division, manifest.max_side) = (Division::OpenOnly, Some(192));
        let shrunk = "open-only (training pictures of at most 192 px, 22 mended, 3 left out)";
        assert_eq!(division_text(&manifest), shrunk);
    }

    #[test]
    fn synth_refuses_what_cannot_be_drawn() {
        let out = tempfile::TempDir::new().unwrap();
        let failure = run_line("--difficulty 2", out.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        let message = "invalid image set: difficulty = 2 is out of range; give 0 to 1";
        assert_eq!(failure.error.to_string(), message);
    }

    #[test]
    fn the_defaults_are_those_of_a_recipe() {
        let command = Cli::try_parse_from(["data", "synth"]).unwrap().data.command;
        let DataCommand::Synth(args) = command else { panic!("another verb") };
        assert_eq!(args.config(), SynthConfig::default());
    }
}
