//! Everything that one run left, gathered.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::Path,
};

use toml::Table;

use super::{
    ReportError,
    epochs::{EpochFigures, EvalPoint, curve, epochs},
    find::RunSource,
    spent::TimeParts,
};
use crate::{
    compliance::Report,
    events::{RankEvent, RunSummary},
    recipe::{self, IMAGENET, Origin, Plan, Recipe, RunContext, Source},
    run_dir::{self, RunManifest},
};

/// The accuracy that MLPerf's rules set for `ResNet`, for logs without a recipe.
const TARGET: f64 = 0.759;

/// One run.
#[derive(Clone, Debug)]
pub(super) struct RunFigures {
    /// `run_0`, `result_0`.
    pub(super) name: String,
    /// `manifest.json`.
    pub(super) manifest: Option<RunManifest>,
    /// The resolved recipe, all keys written out.
    pub(super) recipe: Option<Table>,
    /// What the recipe was resolved for.
    pub(super) run_context: Option<RunContext>,
    /// `summary.json`.
    pub(super) summary: Option<RunSummary>,
    /// The report on its log.
    pub(super) report: Option<Report>,
    /// Its evaluations.
    pub(super) curve: Vec<EvalPoint>,
    /// Its epochs.
    pub(super) epochs: Vec<EpochFigures>,
    /// Where its time went, if it has an end.
    pub(super) time: Option<TimeParts>,
    /// The accuracy to reach.
    pub(super) target: f64,
    /// What its ranks reported as failure.
    pub(super) failure: Option<String>,
}

impl RunFigures {
    /// Gathers a run, given the report on its log.
    pub(super) fn read(source: &RunSource, report: Option<Report>) -> Result<Self, ReportError> {
        let mut events = Vec::new();
        let (mut manifest, mut summary, mut recipe) = (None, None, None);
        if let Some(folder) = &source.folder {
            events = read_events(&folder.join(run_dir::EVENTS))?;
            manifest = read_json::<RunManifest>(&folder.join(run_dir::MANIFEST))?;
            summary = read_json::<RunSummary>(&folder.join(run_dir::SUMMARY))?;
            recipe = read_recipe(&folder.join(run_dir::RECIPE), manifest.as_ref());
        }
        let run_context = manifest.as_ref().map(context);
        let plan = recipe.as_ref().map(Plan::of);
        let epochs = epochs(report.as_ref(), &events, plan.as_ref());
        let timing = report.as_ref().and_then(|report| report.timing);
        let time = timing.filter(|it| it.num_epochs > 0).map(|it| TimeParts::of(&it, &epochs));
        let started = events.iter().find_map(|event| match event {
            RankEvent::RunStart { target, .. } => Some(*target),
            _ => None,
        });
        let planned = recipe.as_ref().map(|recipe| recipe.mlperf.target);
        let failure = events.iter().find_map(|event| match event {
            RankEvent::Failed { rank, message, .. } => Some(format!("rank {rank}: {message}")),
            _ => None,
        });
        Ok(Self {
            name: source.name.clone(),
            recipe: recipe.and_then(|recipe| Table::try_from(recipe.to_file()).ok()),
            curve: curve(report.as_ref(), &events),
            target: started.or(planned).unwrap_or(TARGET),
            manifest,
            run_context,
            summary,
            report,
            epochs,
            time,
            failure,
        })
    }

    /// Minutes from `run_start` to `run_stop`.
    pub(super) fn minutes(&self) -> Option<f64> {
        self.report.as_ref()?.timing.map(|timing| timing.minutes)
    }

    /// The last accuracy.
    pub(super) fn accuracy(&self) -> Option<f64> {
        self.curve.last().map(|point| point.accuracy)
    }

    /// Whether its log says that it reached its target.
    pub(super) fn succeeded(&self) -> bool {
        let status = self.report.as_ref().and_then(|report| report.status.as_deref());
        status == Some("success") && self.minutes().is_some()
    }

    /// Epochs that it trained.
    pub(super) fn num_epochs(&self) -> usize {
        let timed = self.report.as_ref().and_then(|report| report.timing);
        self.epochs.len().max(timed.map_or(0, |timing| timing.num_epochs))
    }

    /// Images per second over all its epochs, without evaluations.
    pub(super) fn images_per_s(&self) -> Option<f64> {
        let measured = self.summary.as_ref().and_then(|summary| summary.images_per_s);
        measured.or_else(|| {
            let timed = self
                .epochs
                .iter()
                .filter_map(|epoch| Some((epoch.images_per_s? * epoch.seconds?, epoch.seconds?)));
            let (images, seconds) =
                timed.fold((0.0, 0.0), |(images, seconds), (more, s)| (images + more, seconds + s));
            (seconds > 0.0).then(|| images / seconds)
        })
    }

    /// Fraction of the training time after the first epoch in which the slowest rank waited for data.
    pub(super) fn data_wait(&self) -> Option<f64> {
        self.summary.as_ref()?.data_wait
    }

    /// Its seed.
    pub(super) fn seed(&self) -> Option<String> {
        let logged = self.report.as_ref().and_then(|report| report.seeds.first()?.value.clone());
        self.manifest.as_ref().map(|manifest| manifest.seed.to_string()).or(logged)
    }

    /// Whether it trained on all of `ImageNet`.
    pub(super) fn is_imagenet(&self) -> bool {
        let stamped = self.manifest.as_ref().map(|manifest| manifest.data_set.num_train as f64);
        let logged = self.report.as_ref().and_then(|report| report.settings.num_train());
        let num_train = IMAGENET.num_train as f64;
        // Logs of other programs round it up to whole batches.
        stamped.or(logged).is_some_and(|num| (num / num_train - 1.0).abs() < 0.01)
    }

    /// How it ended, in words.
    pub(super) fn ending(&self) -> String {
        let Some(report) = &self.report else { return "failed before its log began".to_owned() };
        match (report.status.as_deref(), self.minutes()) {
            (Some("success"), Some(_)) => "target reached".to_owned(),
            (Some("aborted"), Some(_)) => "target not reached".to_owned(),
            (Some(status), Some(_)) => format!("status {status}"),
            _ if self.failure.is_some() => "failed".to_owned(),
            _ => "has no end".to_owned(),
        }
    }
}

/// What the recipe of a run was resolved for.
fn context(manifest: &RunManifest) -> RunContext {
    RunContext {
        world_size: manifest.world_size,
        num_classes: manifest.data_set.num_classes,
        num_train: manifest.data_set.num_train,
        num_eval: manifest.data_set.num_eval,
    }
}

/// Reads events, and skips what is no event: the last line of a run that goes on may be half written,
/// and another version of the program may know other events.
fn read_events(path: &Path) -> Result<Vec<RankEvent>, ReportError> {
    let unreadable = |source| ReportError::Read { path: path.into(), source };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(unreadable)?,
    };
    let mut events = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(unreadable)?;
        // Progress within epochs is most of the file, and a report shows none of it.
        let line = String::from_utf8_lossy(&line);
        if !line.starts_with(r#"{"event":"steps""#) {
            events.extend(RankEvent::from_line(&line));
        }
    }
    Ok(events)
}

/// Reads a JSON file, if it exists.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ReportError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|source| ReportError::Read { path: path.into(), source })?,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ReportError::Damaged { path: path.into(), message: error.to_string() })
}

/// Reads the resolved recipe of a run. A report does without a recipe of another version.
fn read_recipe(path: &Path, manifest: Option<&RunManifest>) -> Option<Recipe> {
    let text = fs::read_to_string(path).ok()?;
    let source = Source { name: "recipe".to_owned(), text, origin: Origin::File(path.into()) };
    let file = recipe::load(&source, &[]).ok()?;
    Recipe::resolve(file, &context(manifest?)).ok()
}
