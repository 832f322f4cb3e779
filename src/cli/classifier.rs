//! What `eval`, `predict` and `export` have in common: weights, the network that they belong to, and a
//! rank that loads them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use crate::{
    launch::{LaunchError, Libtorch, Machine, RankLayout, TaskRanks, find_rank_program},
    mlperf::Division,
    optim::Time,
    recipe::{self, DeviceChoice, IMAGENET, Origin, Recipe, RecipeFile, RunContext, Source},
    run_dir,
    weights::{Fit, WeightsError, WeightsFile},
};

/// The weights and how to use them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct WeightsArgs {
    /// Weights of a run (its folder or its weights.safetensors), or safetensors of torchvision or timm
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Recipe of the network [default: that in the weights, else read off their names]
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    /// Names of the classes, one a line in the order of the outputs [default: those in the weights]
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Override a value of the recipe, as in `data.eval.crop_size=288`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Where a rank computes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DeviceArgs {
    /// Device [default: a GPU where there is one]
    #[arg(long, value_enum, value_name = "auto|cpu|cuda", hide_possible_values = true)]
    device: Option<DeviceChoice>,
    /// Folder of libtorch 2.11.0
    #[arg(long, value_name = "DIR")]
    libtorch: Option<PathBuf>,
}

impl DeviceArgs {
    /// On the CPU.
    pub(super) fn cpu(libtorch: Option<PathBuf>) -> Self {
        Self { device: Some(DeviceChoice::Cpu), libtorch }
    }
}

/// A network with its weights.
pub(super) struct Classifier {
    pub(super) file: WeightsFile,
    /// In the order of the outputs; empty if unknown.
    pub(super) classes: Vec<String>,
    pub(super) recipe: Recipe,
}

impl WeightsArgs {
    /// Reads the header of the weights, and resolves the recipe for them. `change` sets what the command
    /// needs.
    pub(super) fn classifier(
        &self,
        change: impl FnOnce(&mut RecipeFile),
    ) -> anyhow::Result<Classifier> {
        let path = if self.weights.is_dir() {
            self.weights.join(run_dir::WEIGHTS)
        } else {
            self.weights.clone()
        };
        let file = WeightsFile::open(&path)?;
        let network = file.network()?;
        let num_classes = network.num_classes;
        let mut recipe = match (&self.recipe, &file.usage) {
            (Some(name), _) => recipe::load(&recipe::find(name)?, &self.overrides)?,
            (None, Some(usage)) => {
                let (name, origin) = (path.display().to_string(), Origin::File(path.clone()));
                let source = Source { name, text: usage.recipe.clone(), origin };
                recipe::load(&source, &self.overrides).context("the recipe in the weights")?
            }
            (None, None) => {
                let (name, origin) = (path.display().to_string(), Origin::File(path.clone()));
                let source = Source { name, text: String::new(), origin };
                RecipeFile { model: network, ..recipe::load(&source, &self.overrides)? }
            }
        };
        "weights".clone_into(&mut recipe.run.name);
        recipe.run.num_ranks = 1;
        recipe.model.weights = Some(path.canonicalize().unwrap_or(path));
        recipe.model.num_classes = num_classes;
        recipe.model.freeze.clear();
        recipe.mlperf.division = Division::Open;
        // Nothing is trained, so that no warm-up can be too long for the run.
        recipe.scheduler.t_warmup = Time::Epochs(0.0);
        (recipe.data.path, recipe.data.synth) = (None, None);
        change(&mut recipe);
        recipe.train.batch_size = recipe.eval.batch_size.max(1);
        let recipe =
            Recipe::resolve(recipe, &RunContext { num_classes, world_size: 1, ..IMAGENET })?;
        let unused = Fit::of(&file, &recipe.spec)?.unused;
        if !unused.is_empty() {
            return Err(WeightsError::Foreign { path: file.path.clone(), names: unused }.into());
        }
        let classes = self.class_names(&file)?;
        ensure!(
            [0, num_classes].contains(&classes.len()),
            "{} names {} classes and the weights have {num_classes}; give one name a line, in the \
             order of the outputs",
            self.classes.as_deref().unwrap_or(&file.path).display(),
            classes.len()
        );
        Ok(Classifier { file, classes, recipe })
    }

    fn class_names(&self, file: &WeightsFile) -> anyhow::Result<Vec<String>> {
        let Some(path) = &self.classes else { return Ok(file.classes().to_owned()) };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read {}; name a text file", path.display()))?;
        let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
        if let Some((i, name)) = twice {
            bail!(
                "{}, line {}: the class {name} is there twice; give each its own name",
                path.display(),
                i + 1
            );
        }
        Ok(names)
    }
}

impl Classifier {
    /// The name of an output.
    pub(super) fn class(&self, output: usize) -> String {
        self.classes.get(output).cloned().unwrap_or_else(|| output.to_string())
    }

    /// Runs a rank with the network. `task` gives its arguments for the folder that it works in, and
    /// `listen` gets every line that it prints.
    pub(super) fn run(
        &self,
        args: &DeviceArgs,
        task: impl FnOnce(&Path) -> anyhow::Result<Vec<String>>,
        listen: &mut dyn FnMut(&str),
    ) -> anyhow::Result<()> {
        let device = args.device.unwrap_or(DeviceChoice::Auto);
        let rank_layout = match RankLayout::detect(device, 1, &Machine::detect()) {
            Err(LaunchError::NoGpu) if device == DeviceChoice::Auto => {
                RankLayout::detect(DeviceChoice::Cpu, 1, &Machine::detect())
            }
            other => other,
        }?;
        let libtorch = Libtorch::find(args.libtorch.as_deref())?;
        let program = find_rank_program()?;
        let folder = tempfile::tempdir()?;
        let mut recipe = self.recipe.clone();
        recipe.run.device = rank_layout.device.into();
        let classes = serde_json::to_string(&self.classes).expect("text is JSON");
        fs::write(folder.path().join(run_dir::RECIPE), recipe.to_toml())?;
        fs::write(folder.path().join(run_dir::CLASSES), classes)?;
        let task = task(folder.path())?;
        let task: Vec<&str> = task.iter().map(String::as_str).collect();
        let ranks = TaskRanks {
            program: &program,
            libtorch: &libtorch,
            rank_layout: &rank_layout,
            run_dir: folder.path(),
        };
        Ok(ranks.run_one(&task, listen)?)
    }
}
