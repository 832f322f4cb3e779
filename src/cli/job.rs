//! One recipe of a series, from its name to the outcome of each of its runs.

use std::{path::PathBuf, time::SystemTime};

use chrono::Local;

use super::{
    ending::{check, outcome_of, write_report},
    exit::{Exit, Failure, OrExit, Outcome},
    given_weights::GivenWeights,
    run_metrics::RunMetrics,
    settle::{name_submitter, settle},
    stage::{Stage, Tools},
    store_text::hidden_text,
    threads,
    train_args::TrainArgs,
};
use crate::{
    console::{self, Counter, Manner, Screen},
    data::{Budget, Dataset, Free, NUM_PINNED_BATCHES, Need, cache_folder, synth},
    events::RunSummary,
    launch::{
        self, Device, Images, Launch, LaunchError, Machine, NodeError, RankLayout, ResultsDir,
        Resumption, RunFolder,
    },
    recipe::{self, Recipe, RecipeFile, RunContext, WatchConfig},
    run_dir::{self, DataStamp, RecipeStamp, ResumeStamp, RunManifest},
};

/// A recipe that was resolved for this machine.
pub(super) struct Job {
    name: String,
    /// Its place among the recipes of the command line.
    index: usize,
    /// The recipe with flags applied and device, ranks and submitter set.
    file: RecipeFile,
    /// The ranks of this machine.
    rank_layout: RankLayout,
    /// Ranks on all machines.
    world_size: usize,
    images: Images,
    system: String,
}

/// A job whose images exist and whose result folders are reserved.
pub(super) struct ReadyJob {
    job: Job,
    data: DataStamp,
    weights: Option<GivenWeights>,
    /// Hidden names in the data set.
    num_hidden: usize,
    budget: Budget,
    results: ResultsDir,
    folders: Vec<RunFolder>,
}

/// The outcome of a run.
pub(super) struct Done {
    /// Its results, if it logged `run_stop`.
    pub(super) summary: Option<RunSummary>,
    /// The page on it, if it could be written.
    pub(super) report: Option<PathBuf>,
    pub(super) outcome: Outcome,
}

impl Job {
    /// Finds, loads and resolves a recipe for this machine. Writes nothing.
    pub(super) fn resolve(name: &str, args: &TrainArgs, manner: Manner) -> Result<Self, Failure> {
        let source = recipe::find(name).or_exit(Exit::Invalid)?;
        let mut file = recipe::load(&source, &args.all_overrides()).or_exit(Exit::Invalid)?;
        if let Some(data) = &args.data {
            file.train_on(data);
        }
        if file.run.name.is_empty() {
            file.run.name = source.name.replace('/', "-");
        }
        // A path that is valid in every folder, for `--resume`.
        if let Some(path) = file.model.weights.as_ref().and_then(|path| path.canonicalize().ok()) {
            file.model.weights = Some(path);
        }
        let machine = Machine::detect();
        let num_nodes = args.nodes.num_nodes();
        let (rank_layout, images) = settle(&file, num_nodes, &machine).or_exit(Exit::Invalid)?;
        file.run.device = rank_layout.device.into();
        name_submitter(&mut file, args.system.as_deref()).or_exit(Exit::Invalid)?;
        let world_size = rank_layout.num_ranks * num_nodes;
        let run_context = images.run_context(&file, world_size).or_exit(Exit::Invalid)?;
        Recipe::resolve(file.clone(), &run_context).or_exit(Exit::Invalid)?;
        if let Some(warning) = rank_layout.warning(&machine) {
            Screen::new(manner).line(&format!("warning: {warning}"));
        }
        let system = args.system.clone().unwrap_or_else(|| {
            format!("{}-{}", launch::host_name(), file.run.name)
                .replace(|c: char| !is_plain(c), "-")
        });
        let index = args.recipes.iter().position(|other| other == name).unwrap_or(0);
        Ok(Self { name: source.name, index, file, rank_layout, world_size, images, system })
    }

    /// The ranks of this machine.
    pub(super) fn rank_layout(&self) -> &RankLayout {
        &self.rank_layout
    }

    /// When ranks are waited for, and for how long.
    pub(super) fn watch(&self) -> &WatchConfig {
        &self.file.train.watch
    }

    /// The same under the name that the interrupted run had.
    pub(super) fn resuming(self, resumption: &Resumption) -> Self {
        Self { name: resumption.recipe_name().to_owned(), ..self }
    }

    /// Reserves a results folder for each run, then generates the built-in image set if the recipe
    /// uses it.
    pub(super) fn prepare(self, args: &TrainArgs, manner: Manner) -> Result<ReadyJob, Failure> {
        let results = ResultsDir::open(&args.results, &self.system).or_exit(Exit::Invalid)?;
        let numbers = (0..self.file.mlperf.runs).map(|i| args.result.map(|first| first + i));
        let folders = numbers.map(|number| results.reserve(number)).collect::<Result<_, _>>();
        let folders = folders.or_exit(Exit::Invalid)?;
        let (data, dataset) = self.images_on_disk(manner).or_exit(Exit::Invalid)?;
        let recipe = self.recipe_of(0, &data).or_exit(Exit::Invalid)?;
        // The checkpoint of a resumed run has its own weights.
        let weights = match args.resume {
            Some(_) => None,
            None => GivenWeights::of(&recipe, dataset.train.classes()).or_exit(Exit::Invalid)?,
        };
        let budget = self.budget(&recipe, dataset.memory_bytes());
        budget.check().or_exit(Exit::Invalid)?;
        let num_hidden = dataset.num_hidden();
        Ok(ReadyJob { job: self, data, weights, num_hidden, budget, results, folders })
    }

    /// The images.
    pub(super) fn images_on_disk(&self, manner: Manner) -> anyhow::Result<(DataStamp, Dataset)> {
        let (path, synth) = match &self.images {
            Images::Folder(path) => (path.clone(), None),
            Images::Synth(config) => {
                let root = cache_folder();
                let total = config.num_train + config.num_eval;
                let images = console::counted(total, "image");
                let what = format!("generating {images} in {}", root.display());
                let counter = Counter::new(manner, &what, total);
                let path = synth::ensure(config, &root, Some(&|count| counter.set(count)))?;
                (path.canonicalize()?, Some(config.clone()))
            }
        };
        let dataset = Dataset::open(&path)?;
        Ok((DataStamp::of(&path, &dataset, synth)?, dataset))
    }

    /// The memory that a run will need.
    fn budget(&self, recipe: &Recipe, index_bytes: usize) -> Budget {
        let RankLayout { device, num_ranks, .. } = self.rank_layout;
        let config = &recipe.data;
        // One batch that is trained on, and on GPUs those in pinned memory.
        let num_in_use = match device {
            Device::Cpu => 1,
            Device::Cuda => 1 + NUM_PINNED_BATCHES,
        };
        let bytes = |num: usize, image_size: usize| (num * image_size * image_size * 3) as u64;
        let image_size = recipe.crop_sizes.iter().copied().max().unwrap_or(0);
        // One more reads images again for batch norm's statistics.
        let swa = recipe.algorithms.swa.as_ref();
        let retakes = swa.is_some_and(|swa| swa.bn_steps(&recipe.run_length) > 0);
        let num_train_loaders = 1 + u64::from(retakes);
        let need = Need {
            num_ranks,
            num_threads: config.num_threads((threads::num_cores() / num_ranks).max(1)),
            num_batches: config.batches_ahead + num_in_use,
            batch_bytes: num_train_loaders * bytes(recipe.batch_per_rank, image_size)
                + bytes(recipe.eval_batch_per_rank, config.eval.crop_size),
            index_bytes: index_bytes as u64,
            ram_cache: config.train.ram_cache,
        };
        need.budget(Free::now())
    }

    /// The fully resolved recipe of run `index`, with the path of the images.
    pub(super) fn recipe_of(&self, index: usize, data: &DataStamp) -> anyhow::Result<Recipe> {
        let mut file = self.file.clone();
        file.train_on(&data.path);
        file.run.seed = file.run.seed.map(|first| first.wrapping_add(index as u64));
        let run_context = RunContext {
            world_size: self.world_size,
            num_classes: data.num_classes,
            num_train: data.num_train,
            num_eval: data.num_eval,
        };
        Ok(Recipe::resolve(file, &run_context)?)
    }
}

impl ReadyJob {
    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// Takes the folders of its runs, in order; later calls return none.
    pub(super) fn take_folders(&mut self) -> Vec<RunFolder> {
        std::mem::take(&mut self.folders)
    }

    /// Reserves one more folder.
    pub(super) fn another_folder(&self) -> Result<RunFolder, LaunchError> {
        self.results.reserve(None)
    }

    /// What concerns all its runs, before the first one.
    fn describe(&self, recipe: &Recipe, screen: &mut Screen) {
        screen.line(&format!("memory: {}", self.budget));
        if let Some(text) = hidden_text(self.num_hidden) {
            screen.line(&text);
        }
        if matches!(self.job.images, Images::Folder(_)) {
            // No image may be opened before the clock runs, so the advice does without image sizes.
            for advice in recipe::advice(recipe, None) {
                screen.line(&format!("advice: {advice}"));
            }
        }
    }

    /// Runs once, from the beginning or from the checkpoint of another run. A failure before the ranks
    /// start is an error; any other outcome is in [`Done`].
    pub(super) fn launch(
        &self,
        index: usize,
        folder: &RunFolder,
        (stage, resumption): (&Stage, Option<&Resumption>),
    ) -> Result<Done, Failure> {
        let recipe = self.job.recipe_of(index, &self.data).or_exit(Exit::Invalid)?;
        let manifest = self.manifest(&recipe, &stage.tools, resumption.map(Resumption::stamp));
        if let Some(resumption) = resumption {
            resumption.check(&manifest, &recipe, stage.accepted_build).or_exit(Exit::Invalid)?;
        }
        write_down(&recipe, &manifest, folder).or_exit(Exit::Invalid)?;
        let mut screen = Screen::new(stage.manner);
        screen.line(&self.headline(&recipe, folder));
        if let Some(resumption) = resumption {
            resumption.warnings.iter().for_each(|it| screen.line(&format!("warning: {it}")));
            screen.line(&resumption_text(resumption));
        }
        self.weights.iter().for_each(|weights| screen.line(&weights.describe()));
        if index == 0 {
            self.describe(&recipe, &mut screen);
        }
        let mut summary = RunSummary::new(&self.job.name, recipe.seed);
        let mut event_log = folder.event_log().or_exit(Exit::Invalid)?;
        let mut metrics = RunMetrics::create(folder, &recipe, (&self.job.name, stage), &screen);
        for event in resumption.map(Resumption::events).unwrap_or_default() {
            let _ = event_log.add(&event);
            summary.hear(&event);
            metrics.hear(&event, None, &screen);
        }
        summary.resumed_after_step = resumption.map(|it| it.checkpoint().step);
        let launch = Launch {
            program: &stage.tools.program.path,
            libtorch: &stage.tools.libtorch,
            rank_layout: &self.job.rank_layout,
            port: stage.tools.port,
            run_dir: folder.path(),
            recipe: (self.job.index, &recipe),
            manifest: &manifest,
            checkpoint: resumption.map(|it| it.checkpoint().folder()),
            cluster: stage.cluster.as_ref(),
        };
        let ending = launch::run(&launch, &stage.interrupts, &mut |event| {
            summary.hear(event);
            screen.show(event);
            metrics.hear(event, Some(SystemTime::now()), &screen);
            if let Some(error) = event_log.add(event) {
                screen.line(&format!("warning: cannot write events ({error}); free the disk"));
            }
        });
        screen.clear();
        let ending = ending.map_err(failed)?;
        if ending.interrupted {
            screen.line("interrupted; the results so far are kept");
        }
        if ending.status.is_some() {
            // MLPerf's clock does not stop, and its runs begin with random weights.
            if resumption.is_none() && self.weights.is_none() {
                summary.result = Some(folder.publish().or_exit(Exit::Invalid)?);
            }
            summary.log_check = Some(check(&folder.log(), &recipe).or_exit(Exit::Invalid)?);
        }
        summary.wire_bytes_per_step =
            summary.num_params.and_then(|num_params| recipe.wire_bytes_per_step(num_params));
        let json = serde_json::to_string_pretty(&summary).expect("the summary is JSON");
        let kept = folder.write(run_dir::SUMMARY, &json).and(event_log.close());
        let report = write_report(folder, &screen);
        let summary = ending.status.is_some().then_some(summary);
        // The table shows what was measured, even if a file of the run could not be written.
        let outcome =
            outcome_of(ending, folder).and_then(|exit| kept.or_exit(Exit::Invalid).map(|()| exit));
        Ok(Done { summary, report, outcome })
    }

    fn headline(&self, recipe: &Recipe, folder: &RunFolder) -> String {
        let RankLayout { device, threads_per_rank, .. } = self.job.rank_layout;
        let on = match device {
            Device::Cpu => {
                format!("the CPU, {} each", console::counted(threads_per_rank, "thread"))
            }
            Device::Cuda => "one GPU each".to_owned(),
        };
        format!(
            "{}: {} on {on}, seed {}, in {}",
            self.job.name,
            console::counted(self.job.world_size, "rank"),
            recipe.seed,
            folder.path().display()
        )
    }

    fn manifest(
        &self,
        recipe: &Recipe,
        tools: &Tools,
        resumed: Option<ResumeStamp>,
    ) -> RunManifest {
        RunManifest {
            ruleset: recipe.mlperf.ruleset.clone(),
            division: recipe.mlperf.division,
            recipe: RecipeStamp::of(&self.job.name, recipe),
            seed: recipe.seed,
            world_size: self.job.world_size,
            device: recipe.run.device,
            data_set: self.data.clone(),
            libtorch: tools.libtorch.version().to_owned(),
            commit: option_env!("MLPERF_RUN_COMMIT").map(str::to_owned),
            program: tools.program.clone(),
            resumed,
            weights: self.weights.as_ref().map(|weights| weights.stamp.clone()),
            host: launch::host_name(),
            argv: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            started: Local::now().to_rfc3339(),
        }
    }
}

/// The failure of a run that did not start or lost a machine.
fn failed(error: LaunchError) -> Failure {
    let exit = match &error {
        LaunchError::Node(NodeError::Lost(_)) => Exit::RankFailed,
        _ => Exit::Invalid,
    };
    Failure { exit, error: error.into() }
}

/// Writes the recipe for the ranks and the manifest into the run's folder.
fn write_down(
    recipe: &Recipe,
    manifest: &RunManifest,
    folder: &RunFolder,
) -> Result<(), LaunchError> {
    folder.write(run_dir::RECIPE, &recipe.to_toml())?;
    folder.write(run_dir::MANIFEST, &manifest.to_json())
}

fn resumption_text(resumption: &Resumption) -> String {
    let ResumeStamp { run, step } = resumption.stamp();
    format!(
        "going on from step {step} of {}; a resumed run is no MLPerf result, so its log stays in its \
         own folder",
        run.display()
    )
}

/// Whether a results folder's name may contain `c`.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.+".contains(c)
}
