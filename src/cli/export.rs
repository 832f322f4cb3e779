//! `mlperf-run export`: writes weights for other programs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    classifier::{Classifier, DeviceArgs, WeightsArgs},
    exit::{Exit, OrExit, Outcome},
};
use crate::{
    atomic_file, console,
    weights::{Usage, write_onnx},
};

/// Arguments of `export`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  mlperf-run export --weights results/local/run_0 --format onnx --out resnet50.onnx")]
pub struct ExportArgs {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Format of the file
    #[arg(long, value_enum)]
    format: Format,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Folder of libtorch 2.11.0, for TorchScript
    #[arg(long, value_name = "DIR")]
    libtorch: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// ONNX, opset 17: from normalized images [N, 3, H, W] to logits [N, K]
    Onnx,
    /// TorchScript, the same; needs libtorch
    Torchscript,
    /// Safetensors under torchvision's names, with class names and recipe
    Safetensors,
}

/// Runs the command.
pub fn run(args: &ExportArgs) -> Outcome {
    let classifier = args.weights.classifier(|recipe| recipe.eval.batch_size = 1);
    let classifier = classifier.or_exit(Exit::Invalid)?;
    write(args, &classifier).or_exit(Exit::Invalid)?;
    console::result(args.out.display());
    Ok(Exit::Ok)
}

fn write(args: &ExportArgs, classifier: &Classifier) -> anyhow::Result<()> {
    let Classifier { file, classes, recipe } = classifier;
    match args.format {
        Format::Onnx => {
            let data = &recipe.data;
            let metadata = [
                ("class_names", serde_json::to_string(classes)?),
                ("mean", serde_json::to_string(&data.mean)?),
                ("std", serde_json::to_string(&data.std)?),
                ("resize_size", data.eval.resize_size.to_string()),
                ("crop_size", data.eval.crop_size.to_string()),
            ];
            write_onnx(file, &recipe.spec, &metadata, &args.out)?;
        }
        Format::Torchscript => {
            // Traced on the CPU, the module can be loaded everywhere.
            let device = DeviceArgs::cpu(args.libtorch.clone());
            let folder = tempfile::tempdir()?;
            let traced = folder.path().join("module.pt");
            let task = |_: &Path| Ok(vec!["--trace".to_owned(), traced.display().to_string()]);
            classifier.run(&device, task, &mut |_| {})?;
            let cannot = || format!("cannot write {}; name another file", args.out.display());
            atomic_file::write(&args.out, &fs::read(&traced)?).with_context(cannot)?;
        }
        Format::Safetensors => {
            let usage = Usage { recipe: recipe.usage(), classes: classes.clone() };
            file.rewrite(&usage, &args.out)?;
        }
    }
    Ok(())
}
