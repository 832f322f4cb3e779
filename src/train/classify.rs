//! Classifies images with given weights: evaluation of a data set, predictions, and a TorchScript trace.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tch::{CModule, Kind, Tensor, no_grad};

use super::{
    engine::StepEngine,
    error::TrainError,
    rank::{RankJob, device, resolved},
    trainer::loader_rank,
};
use crate::{
    data::{DataError, Dataset, ImageReader, Index, Split},
    distributed::Ddp,
    events::{EvalProgress, Evaluation, Prediction},
    model::Mode,
    recipe::{IMAGENET, Recipe, RunContext},
    run_dir,
    weights::WeightsError,
};

/// Time between two reports on progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// Classes of top-5 accuracy.
const NUM_TOP: i64 = 5;

/// A network with its weights, and the names of its classes, of which there may be none.
struct Classifier {
    engine: StepEngine,
    classes: Vec<String>,
}

impl Classifier {
    /// The network of the job's recipe.
    fn build(job: &RankJob) -> Result<Self, TrainError> {
        let path = job.run_dir.join(run_dir::CLASSES);
        let unreadable = |source| TrainError::File { path: path.clone(), source };
        let text = fs::read_to_string(&path).map_err(unreadable)?;
        let classes = serde_json::from_str(&text).map_err(|error| unreadable(error.into()))?;
        let recipe = recipe_of(job)?;
        let device = device(&recipe, &job.world)?;
        let engine = StepEngine::on(Ddp::alone(), &recipe, &job.world, device)?;
        Ok(Self { engine, classes })
    }

    /// Logits `[N, K]` and labels `[N]` of uint8 images `[N, R, R, 3]`.
    fn logits(
        &self,
        (pixels, labels): (&[u8], &[i64]),
        image_size: usize,
    ) -> Result<(Tensor, Tensor), TrainError> {
        let Self { engine, .. } = self;
        no_grad(|| {
            let device_batch = engine.uploader.upload_parts(pixels, labels, image_size)?;
            let batch = engine.uploader.batch(&device_batch, image_size, 0.0);
            let logits = engine.eval_forward.logits(&engine.model, &batch.images, Mode::Eval)?;
            Ok((logits.to_kind(Kind::Float), batch.labels))
        })
    }

    fn num_classes(&self) -> usize {
        self.engine.recipe.run_context.num_classes
    }

    /// The output for each class of the images. Classes are matched by name where the weights have names.
    fn outputs(&self, classes: &[String]) -> Result<Vec<i64>, WeightsError> {
        let path = || self.engine.recipe.model.weights.clone().unwrap_or_default();
        if self.classes.is_empty() {
            let (found, wanted) = (self.num_classes(), classes.len());
            if found != wanted {
                return Err(WeightsError::NumClasses { path: path(), found, wanted });
            }
            return Ok((0..wanted as i64).collect());
        }
        let output = |class: &String| {
            let output = self.classes.iter().position(|known| known == class);
            output.map(|output| output as i64).ok_or_else(|| WeightsError::UnknownClass {
                path: path(),
                class: class.clone(),
                known: self.classes[0].clone(),
            })
        };
        classes.iter().map(output).collect()
    }
}

/// The recipe of `job`, which has the number of classes.
fn recipe_of(job: &RankJob) -> Result<Recipe, TrainError> {
    let run_context = RunContext { world_size: 1, ..IMAGENET };
    let file = super::rank::load(job)?;
    resolved(job, &RunContext { num_classes: file.model.num_classes, ..run_context })
}

/// Evaluates the weights of the job's recipe on the validation images of its data set.
pub fn evaluate_weights(
    job: &RankJob,
    progress: &mut dyn FnMut(EvalProgress),
) -> Result<Evaluation, TrainError> {
    let classifier = Classifier::build(job)?;
    let StepEngine { recipe, world, .. } = &classifier.engine;
    let index = validation_images(&recipe.data.path.clone().unwrap_or_default())?;
    let outputs = classifier.outputs(index.classes())?;
    let num_all = index.len();
    let data = Dataset { train: Arc::clone(&index), eval: index };
    let mut loader =
        data.eval_loader(&recipe.data, recipe.eval_batch_per_rank, &loader_rank(world));
    let num_top = NUM_TOP.min(classifier.num_classes() as i64);
    // Few of all pairs of classes occur.
    let mut confusion: BTreeMap<(i64, i64), u64> = BTreeMap::new();
    let mut num_in_top5 = 0;
    let (mut num_done, mut reported) = (0, Instant::now());
    while let Some(batch) = loader.next_batch()? {
        let labels: Vec<i64> =
            batch.labels().iter().map(|&label| outputs[label as usize]).collect();
        let (logits, on_device) = classifier.logits((batch.images(), &labels), batch.image_size)?;
        let (_, top) = logits.topk(num_top, -1, true, true); // [N, 5]
        let hits = top.eq_tensor(&on_device.unsqueeze(1)).sum(Kind::Int64);
        num_in_top5 += i64::try_from(&hits).expect("one number") as u64;
        let predicted = Vec::<i64>::try_from(logits.argmax(-1, false)).expect("one dimension");
        for pair in labels.into_iter().zip(predicted) {
            *confusion.entry(pair).or_default() += 1;
        }
        num_done += batch.len();
        if reported.elapsed() > REPORT_INTERVAL {
            progress(EvalProgress { num_done, num_all });
            reported = Instant::now();
        }
    }
    let count = |((class, predicted), num)| (class as usize, predicted as usize, num);
    let names =
        if classifier.classes.is_empty() { data.eval.classes() } else { &classifier.classes };
    Ok(Evaluation {
        num_classes: classifier.num_classes(),
        class_names: names.to_owned(),
        confusion: confusion.into_iter().map(count).collect(),
        num_in_top5,
        num_left_out: loader.take_bad().len(),
    })
}

/// The validation images at `path`, with or without training images next to them.
fn validation_images(path: &Path) -> Result<Arc<Index>, DataError> {
    match Dataset::open(path) {
        Ok(data) => Ok(data.eval),
        Err(error) => Index::open(path, Split::Eval).map(Arc::new).map_err(|_| error),
    }
}

/// Predicts the `num_top` most probable classes of each image.
pub fn predict(
    job: &RankJob,
    images: &[PathBuf],
    num_top: usize,
    report: &mut dyn FnMut(Prediction),
) -> Result<(), TrainError> {
    let classifier = Classifier::build(job)?;
    let transform = classifier.engine.recipe.data.eval;
    let image_size = transform.crop_size;
    let num_top = num_top.min(classifier.num_classes()) as i64;
    let mut reader = ImageReader::default();
    let mut pixels = vec![0; 3 * image_size * image_size];
    for path in images {
        if let Err(error) = reader.read(path, &transform, &mut pixels) {
            report(Prediction { path: path.clone(), classes: Vec::new(), error: Some(error) });
            continue;
        }
        let (logits, _) = classifier.logits((&pixels, &[0]), image_size)?;
        if logits.isfinite().all().int64_value(&[]) == 0 {
            return Err(TrainError::NotFinite);
        }
        let (probabilities, classes) =
            logits.softmax(-1, Kind::Double).topk(num_top, -1, true, true);
        let classes = Vec::<i64>::try_from(classes.flatten(0, -1)).expect("one dimension");
        let probabilities =
            Vec::<f64>::try_from(probabilities.flatten(0, -1)).expect("one dimension");
        let classes = classes.into_iter().map(|class| class as usize).zip(probabilities).collect();
        report(Prediction { path: path.clone(), classes, error: None });
    }
    Ok(())
}

/// Writes a TorchScript module to `path`: from normalized images `[N, 3, R, R]` to logits `[N, K]`.
pub fn trace(job: &RankJob, path: &Path) -> Result<(), TrainError> {
    let Classifier { engine, .. } = Classifier::build(job)?;
    // A trace holds weights as constants, which have no gradients.
    for (_, tensor) in engine.model.weights().all() {
        let _ = tensor.set_requires_grad(false);
    }
    let image_size = engine.recipe.data.eval.crop_size as i64;
    let example = Tensor::zeros([1, 3, image_size, image_size], (Kind::Float, engine.device));
    let mut forward = |inputs: &[Tensor]| vec![engine.model.forward(&inputs[0], Mode::Eval)];
    let module =
        no_grad(|| CModule::create_by_tracing("ResNet", "forward", &[example], &mut forward));
    let failed = |error: tch::TchError| {
        let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
        TrainError::TensorFile { path: path.to_owned(), reason }
    };
    module.map_err(failed)?.save(path).map_err(failed)
}
