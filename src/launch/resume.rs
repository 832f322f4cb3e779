//! `--resume`: finds the checkpoint of a run that ended early, and decides whether a new run may go on
//! from it.

use std::{
    ffi::OsStr,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use super::{LaunchError, recipe_values::first_difference};
use crate::{
    events::{RankEvent, RunSummary},
    mlperf::RunStatus,
    recipe::Recipe,
    run_dir::{self, Checkpoint, ResumeStamp, RunManifest},
};

/// A run that ended early, and its newest checkpoint.
#[derive(Clone, Debug)]
pub struct Resumption {
    run_dir: PathBuf,
    manifest: RunManifest,
    checkpoint: Checkpoint,
    /// Why newer checkpoints are not used.
    pub warnings: Vec<String>,
}

/// Which programs may go on with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptedBuild {
    /// Those that started it, which gives the same weights bit for bit.
    Same,
    /// Another build too (`--force`).
    Any,
}

impl Resumption {
    /// The run named by `run`, a folder `run_N`; or the newest run in `run`, the folder of a system or of
    /// all results.
    pub fn find(run: &Path) -> Result<Self, LaunchError> {
        if run.join(run_dir::MANIFEST).is_file() {
            return Self::of_run(run);
        }
        let newest = run_dir::newest(run);
        Self::of_run(&newest.ok_or_else(|| cannot(run, &"there is no run in it"))?)
    }

    /// The run in `run_dir`, with its newest checkpoint that is not damaged.
    pub fn of_run(run_dir: &Path) -> Result<Self, LaunchError> {
        let run_dir = run_dir.canonicalize().map_err(|error| cannot(run_dir, &error))?;
        let manifest = fs::read(run_dir.join(run_dir::MANIFEST));
        let manifest = manifest.map_err(|error| cannot(&run_dir, &error))?;
        let manifest = serde_json::from_slice(&manifest)
            .map_err(|error| cannot(&run_dir, &format_args!("its manifest.json: {error}")))?;
        if has_succeeded(&run_dir) {
            return Err(cannot(&run_dir, &"it has reached its target"));
        }
        let mut warnings = Vec::new();
        for checkpoint in Checkpoint::all(&run_dir).into_iter().rev() {
            match checkpoint.verify() {
                Ok(()) => return Ok(Self { run_dir, manifest, checkpoint, warnings }),
                Err(error) => warnings.push(error.to_string()),
            }
        }
        let damaged = warnings.pop().map(|error| format!(" ({error})")).unwrap_or_default();
        Err(cannot(&run_dir, &format_args!("it has no whole checkpoint{damaged}")))
    }

    /// Where its recipe is.
    pub fn recipe(&self) -> PathBuf {
        self.run_dir.join(run_dir::RECIPE)
    }

    /// The name of its recipe.
    pub fn recipe_name(&self) -> &str {
        &self.manifest.recipe.name
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.manifest.seed
    }

    /// Its folder of results, and the name of its system.
    pub fn place(&self) -> Option<(&Path, &str)> {
        let system = self.run_dir.parent()?;
        Some((system.parent()?, system.file_name().and_then(OsStr::to_str)?))
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The mark in the manifest of the new run.
    pub fn stamp(&self) -> ResumeStamp {
        ResumeStamp { run: self.run_dir.clone(), step: self.checkpoint.step }
    }

    /// An error unless a run of `manifest` and `recipe` would go on as this one did. Checkpoints may be
    /// set differently, and the images may be elsewhere.
    pub fn check(
        &self,
        manifest: &RunManifest,
        recipe: &Recipe,
        accepted_build: AcceptedBuild,
    ) -> Result<(), LaunchError> {
        let (old, new) = (&self.manifest, manifest);
        let differs = |old: &str, new: &str| {
            let reason = format!("it had {old}, and this would have {new}");
            Err(cannot(&self.run_dir, &reason))
        };
        if let Some([old, new]) = self.other_value(recipe)? {
            return differs(&old, &new);
        }
        if old.world_size != new.world_size {
            let [old, new] = [old, new].map(|it| format!("{} ranks", it.world_size));
            return differs(&old, &new);
        }
        let [was, is] = [&old.data_set, &new.data_set].map(|data| {
            [&data.listing_sha256, data.store_sha256.as_ref().unwrap_or(&data.listing_sha256)]
        });
        if was != is {
            return Err(cannot(&self.run_dir, &"these are not the images that it was trained on"));
        }
        if old.libtorch != new.libtorch {
            let [old, new] = [old, new].map(|it| format!("libtorch {}", it.libtorch));
            return differs(&old, &new);
        }
        if accepted_build == AcceptedBuild::Same && old.program.sha256 != new.program.sha256 {
            let reason = "mlperf-rank is another build, which --force accepts";
            return Err(cannot(&self.run_dir, &reason));
        }
        Ok(())
    }

    /// The first value in which the run's recipe differs from `recipe`.
    fn other_value(&self, recipe: &Recipe) -> Result<Option<[String; 2]>, LaunchError> {
        // Where the images are does not change what is trained, and the checkpoint has the weights.
        const KEYS: [&str; 2] = ["data.path", "model.weights"];
        let path = self.recipe();
        let text = fs::read_to_string(&path).map_err(|error| cannot(&path, &error))?;
        first_difference([&text, &recipe.to_toml()], &KEYS).map_err(|error| cannot(&path, &error))
    }

    /// The events of the run up to the checkpoint.
    pub fn events(&self) -> Vec<RankEvent> {
        let text = fs::read_to_string(self.run_dir.join(run_dir::EVENTS)).unwrap_or_default();
        let events: Vec<_> = text.lines().filter_map(RankEvent::from_line).collect();
        let mut steps_per_epoch = 0;
        let is_before = |event: &RankEvent| match *event {
            RankEvent::RunStart { steps_per_epoch: num, .. } => {
                steps_per_epoch = num;
                true
            }
            RankEvent::Steps { epoch, step, .. } => {
                (epoch - 1) * steps_per_epoch + step <= self.checkpoint.step
            }
            RankEvent::EpochStop { epoch, .. } | RankEvent::Evaluated { epoch, .. } => {
                epoch * steps_per_epoch <= self.checkpoint.step
            }
            RankEvent::RunStop { .. } | RankEvent::RankStop { .. } => false,
            _ => true,
        };
        events.into_iter().take_while(is_before).collect()
    }
}

/// Whether the summary of the run says that it has reached its target.
fn has_succeeded(run_dir: &Path) -> bool {
    let summary = fs::read(run_dir.join(run_dir::SUMMARY)).unwrap_or_default();
    let summary: Option<RunSummary> = serde_json::from_slice(&summary).ok();
    summary.is_some_and(|summary| summary.status == Some(RunStatus::Success))
}

fn cannot(path: &Path, reason: &dyn Display) -> LaunchError {
    LaunchError::Resume { path: path.to_owned(), reason: reason.to_string() }
}
