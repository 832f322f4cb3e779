//! `mlperf-run eval`: how well given weights classify the validation images of a data set.

use std::path::PathBuf;

use anyhow::anyhow;

use super::{
    classifier::{Classifier, DeviceArgs, WeightsArgs},
    exit::{Exit, OrExit, Outcome},
};
use crate::{
    console::{self, Column, Counter, Manner, aligned, grouped, percent},
    events::{EvalProgress, Evaluation},
    report::{self, EvaluatedWeights},
};

/// Classes and mistakes that are printed; files have them all.
const NUM_SHOWN: usize = 10;

/// Arguments of `eval`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  mlperf-run eval --weights results/local/run_0 --data my-images --out evaluation")]
pub struct EvalArgs {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Data set, whose val is evaluated
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// Write report.html, evaluation.json, classes.csv and confusion.csv into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the evaluation as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs the command.
pub fn run(args: &EvalArgs) -> Outcome {
    let classifier = args.weights.classifier(|recipe| {
        recipe.data.path = Some(args.data.clone());
        recipe.eval.batch_size = args.batch;
    });
    let classifier = classifier.or_exit(Exit::Invalid)?;
    // An unwritable folder ends the command before the evaluation.
    if let Some(folder) = &args.out {
        report::create_folder(folder).or_exit(Exit::Invalid)?;
    }
    if classifier.classes.is_empty() {
        console::note(
            "the weights do not name their classes: outputs are those of the images, in the order of \
             their names; --classes names them",
        );
    }
    let evaluation = evaluate(args, &classifier).or_exit(Exit::Invalid)?;
    let evaluated = EvaluatedWeights {
        weights: &classifier.file.path,
        data: &args.data,
        evaluation: &evaluation,
    };
    console::result(if args.json { evaluated.to_json() } else { text(&evaluated) });
    if let Some(folder) = &args.out {
        report::write_evaluation(&evaluated, folder).or_exit(Exit::Invalid)?;
        console::note(format_args!("report: {}", folder.join(report::EVALUATION_PAGE).display()));
    }
    Ok(Exit::Ok)
}

fn evaluate(args: &EvalArgs, classifier: &Classifier) -> anyhow::Result<Evaluation> {
    let (mut evaluation, mut counter) = (None, None);
    let mut listen = |line: &str| {
        if let Ok(EvalProgress { num_done, num_all }) = serde_json::from_str(line) {
            let new = || Counter::new(Manner::of_stderr(), "evaluating", num_all);
            counter.get_or_insert_with(new).set(num_done);
        } else if let Ok(result) = serde_json::from_str::<Evaluation>(line) {
            evaluation = Some(result);
        }
    };
    classifier.run(&args.device, |_| Ok(vec!["--evaluate".to_owned()]), &mut listen)?;
    drop(counter);
    let evaluation = evaluation.filter(|it| it.num_images() > 0);
    evaluation.ok_or_else(|| anyhow!("no image was evaluated; check {}", args.data.display()))
}

/// Accuracies, the classes that were recognized worst, and the most frequent mistakes.
fn text(evaluated: &EvaluatedWeights) -> String {
    let EvaluatedWeights { weights, data, evaluation } = evaluated;
    let classes = &evaluation.class_names;
    let share = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |it| percent(it, 2));
    let mut lines = vec![
        format!("{} on {}", weights.display(), data.display()),
        format!("{} images of {} classes", grouped(evaluation.num_images() as f64), classes.len()),
        format!("top-1 {}", share(evaluation.top1())),
        format!("top-5 {}", share(evaluation.top5())),
    ];
    if evaluation.num_left_out > 0 {
        lines.push(format!("{} images left out, which cannot be decoded", evaluation.num_left_out));
    }
    let worst = evaluated.worst_classes();
    let shown = &worst[..worst.len().min(NUM_SHOWN)];
    lines.push(format!("\nclasses recognized worst ({} of {}):", shown.len(), worst.len()));
    lines.push(aligned(&[
        Column::left("class", shown.iter().map(|(name, _)| name.clone())),
        Column::right("images", shown.iter().map(|(_, it)| it.num_images.to_string())),
        Column::right("recall", shown.iter().map(|(_, it)| share(it.recall()))),
        Column::right("precision", shown.iter().map(|(_, it)| share(it.precision()))),
    ]));
    let mistakes = evaluation.mistakes();
    let shown = &mistakes[..mistakes.len().min(NUM_SHOWN)];
    if !shown.is_empty() {
        lines.push("\nmost frequent mistakes:".to_owned());
        lines.push(aligned(&[
            Column::left("class", shown.iter().map(|(class, ..)| classes[*class].clone())),
            Column::left("taken for", shown.iter().map(|(_, other, _)| classes[*other].clone())),
            Column::right("images", shown.iter().map(|(.., num)| num.to_string())),
        ]));
    }
    lines.join("\n")
}
