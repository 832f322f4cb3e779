//! `mlperf-run data`: generates, imports, inspects and verifies data sets.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::{
    cli::{
        data_import::{ImportArgs, import},
        data_synth::{SynthArgs, synth},
        exit::{Exit, Failure, OrExit as _, Outcome},
        store_text::{describe, division_text, hidden_text},
    },
    console::{self, Counter, Manner},
    data::{
        Dataset, Index, OnBadImage, StoreDivision,
        import::{self, Manifest},
        inspect::{self, Quantiles, SplitSurvey},
    },
};

/// Arguments of `mlperf-run data`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mlperf-run data inspect /path/to/imagenet
  mlperf-run data import /path/to/imagenet --out imagenet")]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Generate the built-in image set and print its folder
    Synth(SynthArgs),
    /// Pack a data set into a store, the format that loads fastest, and print its folder. Also rewrites
    /// WebP, BMP, TIFF and GIF (the first frame), which training does not read
    Import(ImportArgs),
    /// Show counts, sizes and sample images of a data set
    Inspect(InspectArgs),
    /// Re-read a store and compare it with its hashes
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mlperf-run data inspect /path/to/imagenet --sheet sheet.png")]
struct InspectArgs {
    /// Data set in any format
    data: PathBuf,
    /// Write a contact sheet of random images and crops of them
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Decode all images, to find every bad one; the default decodes 64 of a split
    #[arg(long, conflicts_with_all = ["num", "seed"])]
    full: bool,
    /// Images per split whose headers are read
    #[arg(long, value_name = "N", default_value_t = 2000)]
    num: usize,
    /// Seed for choosing images
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mlperf-run data verify imagenet")]
struct VerifyArgs {
    /// Folder of the store
    store: PathBuf,
}

/// Runs the command.
pub fn run(args: &DataArgs) -> Outcome {
    match &args.command {
        DataCommand::Synth(args) => synth(args),
        DataCommand::Import(args) => import(args),
        DataCommand::Inspect(args) => inspect(args),
        DataCommand::Verify(args) => verify(args),
    }
}

fn verify(args: &VerifyArgs) -> Outcome {
    match import::stores_in(&args.store).or_exit(Exit::Invalid)?.as_slice() {
        // The error explains why this is not a store.
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
        import::verify(folder, &progress).or_exit(Exit::Invalid)?
    };
    describe(&manifest);
    let num_shards = console::counted(manifest.shards.len(), "shard");
    console::result(format!("{num_shards} unchanged: {}", folder.display()));
    Ok(())
}

fn inspect(args: &InspectArgs) -> Outcome {
    let dataset = Dataset::open(&args.data).or_exit(Exit::Invalid)?;
    let stores = import::stores_in(&args.data).or_exit(Exit::Invalid)?;
    for folder in &stores {
        let manifest = Manifest::read(folder).or_exit(Exit::Invalid)?;
        let name = folder.strip_prefix(&args.data).unwrap_or(folder).display().to_string();
        let name = if name.is_empty() { name } else { format!(" {name}") };
        console::result(format!("store{name}: {}", division_text(&manifest)));
    }
    if stores.is_empty() && dataset.division() == Some(StoreDivision::OpenOnly) {
        console::result("store without a manifest: open-only (its images were changed)");
    }
    let survey = |index: &Index| {
        if args.full {
            inspect::full_survey(index)
        } else {
            inspect::survey(index, args.num, args.seed)
        }
    };
    let mut not_in_place = None;
    for (name, index) in [("train", &dataset.train), ("val", &dataset.eval)] {
        let survey_of_split = survey(index);
        console::result(survey_text(name, &survey_of_split));
        not_in_place = not_in_place.or_else(|| survey_of_split.not_in_place());
        for (max_side, smaller) in index.smaller() {
            let name = format!("{name} up to {max_side} px");
            console::result(survey_text(&name, &survey(smaller)));
        }
    }
    if let Some(path) = &args.sheet {
        inspect::contact_sheet(&dataset.train, args.seed, path).or_exit(Exit::Invalid)?;
        console::note(format!("wrote images and crops of them to {}", path.display()));
    }
    if let Some(error) = not_in_place {
        return Err(error).or_exit(Exit::Invalid);
    }
    dataset.check_in_place(OnBadImage::Error).or_exit(Exit::Invalid)?;
    Ok(Exit::Ok)
}

/// The first classes and the last one, with their numbers of images.
fn classes_text(classes: &[(String, usize)]) -> String {
    const NUM_SHOWN: usize = 4;
    let text = |(name, num): &(String, usize)| format!("{name} ({num})");
    let mut parts: Vec<String> = classes.iter().take(NUM_SHOWN).map(text).collect();
    if classes.len() > NUM_SHOWN + 1 {
        parts.push("..".to_owned());
    }
    parts.extend(classes.iter().skip(NUM_SHOWN).next_back().map(text));
    parts.join(", ")
}

fn survey_text(name: &str, survey: &SplitSurvey) -> String {
    let with = |Quantiles { least, median, greatest }: &Quantiles, decimals: usize| {
        format!("{least:.decimals$} / {median:.decimals$} / {greatest:.decimals$}")
    };
    let quantiles = |quantiles: &Quantiles| with(quantiles, 0);
    let mut text = format!(
        "{name}: {} of {} classes, smallest / median / largest\n  \
         classes            {}\n  \
         images per class   {}\n  \
         width, px          {}\n  \
         height, px         {}\n  \
         width / height     {}\n  \
         bytes per file     {}\n  \
         of {} examined: {} progressive, {} with restart markers, {} bad",
        console::counted(survey.num_images, "image"),
        survey.classes.len(),
        classes_text(&survey.classes),
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
    if survey.num_turned > 0 {
        let turned = survey.num_turned;
        text = format!(
            "{text}\n  {turned} with an Exif orientation, which is not applied (as in torchvision; \
             Hugging Face's datasets applies it, and so does data import --exif apply)"
        );
    }
    if survey.num_warned > 0 {
        let warned = survey.num_warned;
        text = format!(
            "{text}\n  {warned} with stray bytes before the end marker; they decode whole and are \
             used"
        );
    }
    if let Some(hidden) = hidden_text(survey.num_hidden as usize) {
        text = format!("{text}\n  {hidden}");
    }
    for (path, reason) in survey.bad.iter().take(20) {
        text = format!("{text}\n  bad: {}: {reason}", path.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        data: DataArgs,
    }

    #[test]
    fn a_store_is_imported_inspected_verified_and_found_damaged() {
        let (source, out) = (tempfile::TempDir::new().unwrap(), tempfile::TempDir::new().unwrap());
        let word = OsStr::new;
        let run = |words: &[&OsStr]| {
            let words = [word("data")].into_iter().chain(words.iter().copied());
            run(&Cli::try_parse_from(words).unwrap().data)
        };
        let (from, to) = (source.path().as_os_str(), out.path().as_os_str());
        let options = "--num-classes 2 --num-train 6 --num-eval 2 --size 48";
        let set = [word("synth"), word("--out"), from].into_iter();
        let set: Vec<_> = set.chain(options.split(' ').map(word)).collect();
        assert_eq!(run(&set).unwrap(), Exit::Ok);
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
        assert!(failure.error.to_string().contains("is not a store"), "{}", failure.error);
    }
}
