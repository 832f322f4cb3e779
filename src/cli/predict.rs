//! `mlperf-run predict`: the most probable classes of images.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, ensure};

use super::{
    classifier::{Classifier, DeviceArgs, WeightsArgs},
    exit::{Exit, OrExit, Outcome},
};
use crate::{console, data::is_image_name, events::Prediction};

/// Arguments of `predict`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  mlperf-run predict --weights results/local/run_0 cat.jpg holiday-photos/")]
pub struct PredictArgs {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Images, or folders of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Classes to show for an image
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Print a line of JSON for each image
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs the command. It ends with [`Exit::Invalid`] if an image cannot be read, after all others.
pub fn run(args: &PredictArgs) -> Outcome {
    let classifier = args.weights.classifier(|recipe| recipe.eval.batch_size = 1);
    let classifier = classifier.or_exit(Exit::Invalid)?;
    let mut images = Vec::new();
    for path in &args.images {
        add_images(path, &mut images).or_exit(Exit::Invalid)?;
    }
    let mut num_unreadable = 0;
    let mut listen = |line: &str| {
        if let Ok(prediction) = serde_json::from_str::<Prediction>(line) {
            num_unreadable += usize::from(prediction.error.is_some());
            if args.json {
                console::result(to_json(&prediction, &classifier));
            } else {
                show(&prediction, &classifier);
            }
        }
    };
    let task = |folder: &Path| {
        let list = folder.join("images.json");
        fs::write(&list, serde_json::to_string(&images).context("the path of an image")?)?;
        Ok(["--predict", &list.display().to_string(), "--top", &args.top.to_string()]
            .map(str::to_owned)
            .to_vec())
    };
    classifier.run(&args.device, task, &mut listen).or_exit(Exit::Invalid)?;
    if num_unreadable == 0 { Ok(Exit::Ok) } else { Ok(Exit::Invalid) }
}

/// Adds the image at `path`, or all images below it in the order of their names.
fn add_images(path: &Path, images: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        let image = path.canonicalize();
        images.push(image.map_err(|error| {
            anyhow!("cannot read {} ({error}); name an image or a folder", path.display())
        })?);
        return Ok(());
    }
    let listed = || format!("cannot list {}; check its permissions", path.display());
    let entries: std::io::Result<Vec<_>> = fs::read_dir(path).with_context(listed)?.collect();
    let mut entries: Vec<PathBuf> =
        entries.with_context(listed)?.iter().map(fs::DirEntry::path).collect();
    entries.sort_unstable();
    let num_before = images.len();
    for entry in entries {
        if entry.is_dir() || is_image_name(&entry) {
            add_images(&entry, images)?;
        }
    }
    ensure!(images.len() > num_before, "{} has no images; name another folder", path.display());
    Ok(())
}

/// A line for an image, in JSON.
fn to_json(prediction: &Prediction, classifier: &Classifier) -> serde_json::Value {
    let classes = prediction.classes.iter().map(|&(output, probability)| {
        let class = classifier.class(output);
        serde_json::json!({ "class": class, "index": output, "probability": probability })
    });
    let mut line = serde_json::json!({ "path": prediction.path });
    match &prediction.error {
        Some(error) => line["error"] = error.as_str().into(),
        None => line["classes"] = classes.collect(),
    }
    line
}

/// A line for people: to standard output, or to standard error if the image cannot be read.
fn show(prediction: &Prediction, classifier: &Classifier) {
    let path = prediction.path.display();
    if let Some(error) = &prediction.error {
        console::note(format_args!(
            "error: cannot read {path}: {error}; name a readable JPEG or PNG"
        ));
        return;
    }
    let class = |&(output, probability): &(usize, f64)| {
        format!("{} {}", classifier.class(output), console::percent(probability, 1))
    };
    let classes: Vec<String> = prediction.classes.iter().map(class).collect();
    console::result(format_args!("{path}: {}", classes.join(", ")));
}
