//! `mlperf-run predict`: the most probable classes of images.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

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

/// How predictions are printed.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Text,
}

impl PredictArgs {
    fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }
}

/// Runs the command. It ends with [`Exit::Invalid`] if an image cannot be read, after all others.
pub fn run(args: &PredictArgs) -> Outcome {
    let classifier = args.weights.classifier(|recipe| recipe.eval.batch_size = 1);
    let classifier = classifier.or_exit(Exit::Invalid)?;
    let mut images = Images::default();
    args.images.iter().for_each(|path| images.add(path));
    for prediction in &images.unreadable {
        show(prediction, &classifier, args.form());
    }
    let num_readable = predict(args, &classifier, &images.found).or_exit(Exit::Invalid)?;
    let is_whole = images.unreadable.is_empty() && num_readable == images.found.len();
    Ok(if is_whole { Exit::Ok } else { Exit::Invalid })
}

/// Shows what the network sees in `images`, and returns how many of them can be read.
fn predict(
    args: &PredictArgs,
    classifier: &Classifier,
    images: &[PathBuf],
) -> anyhow::Result<usize> {
    if images.is_empty() {
        return Ok(0);
    }
    let mut num_readable = 0;
    let mut listen = |line: &str| {
        if let Ok(prediction) = serde_json::from_str::<Prediction>(line) {
            num_readable += usize::from(prediction.error.is_none());
            show(&prediction, classifier, args.form());
        }
    };
    let task = |folder: &Path| {
        let list = folder.join("images.json");
        fs::write(&list, serde_json::to_string(images)?)?;
        Ok(["--predict", &list.display().to_string(), "--top", &args.top.to_string()]
            .map(str::to_owned)
            .to_vec())
    };
    classifier.run(&args.device, task, &mut listen)?;
    Ok(num_readable)
}

/// The images that a command line names.
#[derive(Default)]
struct Images {
    found: Vec<PathBuf>,
    /// Those that are known to be unreadable.
    unreadable: Vec<Prediction>,
}

impl Images {
    /// Adds the image at `path`, or all images below it in the order of their names.
    fn add(&mut self, path: &Path) {
        if !path.is_dir() {
            return self.add_file(path);
        }
        let num_before = self.found.len() + self.unreadable.len();
        self.add_folder(path);
        if self.found.len() + self.unreadable.len() == num_before {
            self.refuse(path, "it has no images".to_owned());
        }
    }

    fn add_file(&mut self, path: &Path) {
        match path.canonicalize() {
            Err(error) => self.refuse(path, error.to_string()),
            Ok(path) if path.to_str().is_none() => {
                self.refuse(&path, "its path is not UTF-8".to_owned());
            }
            Ok(path) => self.found.push(path),
        }
    }

    /// Links to folders are not followed: they may lead back.
    fn add_folder(&mut self, path: &Path) {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.refuse(path, error.to_string()),
        };
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let mut entries: Vec<_> =
            entries.iter().map(|entry| (entry.path(), is_folder(entry))).collect();
        entries.sort_unstable();
        for (path, is_folder) in entries {
            if is_folder {
                self.add_folder(&path);
            } else if is_image_name(&path) && !path.is_dir() {
                self.add_file(&path);
            }
        }
    }

    fn refuse(&mut self, path: &Path, reason: String) {
        let path = PathBuf::from(path.to_string_lossy().into_owned());
        self.unreadable.push(Prediction { path, classes: Vec::new(), error: Some(reason) });
    }
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

/// A line for an image: JSON, or text for people, where what cannot be read goes to standard error.
fn show(prediction: &Prediction, classifier: &Classifier, form: Form) {
    let path = prediction.path.display();
    match (&prediction.error, form) {
        (_, Form::Json) => console::result(to_json(prediction, classifier)),
        (Some(error), Form::Text) => {
            console::note(format_args!(
                "error: cannot read {path}: {error}; name a readable JPEG or PNG"
            ));
        }
        (None, Form::Text) => {
            let class = |&(output, probability): &(usize, f64)| {
                format!("{} {}", classifier.class(output), console::percent(probability, 1))
            };
            let classes: Vec<String> = prediction.classes.iter().map(class).collect();
            console::result(format_args!("{path}: {}", classes.join(", ")));
        }
    }
}
