//! The options of a training run.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
};

use clap::ValueEnum;

use super::{node::NodeArgs, plan::PlanArgs};
use crate::{
    launch::{AcceptedBuild, LaunchError, Resumption},
    recipe::DeviceChoice,
};

/// The options of `mlperf-run --recipe`.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainArgs {
    /// A file, a name in ./configs, or a built-in recipe; several run one after another
    #[arg(long = "recipe", value_name = "RECIPE", required_unless_present = "resume")]
    pub recipes: Vec<String>,
    /// Device to train on [default: the recipe's]
    #[arg(long, value_enum, value_name = "auto|cpu|cuda", hide_possible_values = true)]
    pub device: Option<DeviceChoice>,
    /// Folder whose train and val contain CLASS/*.JPEG, *.tar or *.arrow [default: the recipe's]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Number of ranks on this machine, one process each [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub nproc: Option<NonZeroUsize>,
    /// Runs of each recipe, each with its own seed and result
    #[arg(long, value_name = "N")]
    pub runs: Option<NonZeroUsize>,
    /// Seed of the first run; each further run adds 1
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Name of the system, described by configs/systems/NAME.toml
    #[arg(long, value_name = "NAME")]
    pub system: Option<String>,
    /// Folder for results
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Number of the first result [default: the next free one]
    #[arg(long, value_name = "N")]
    pub result: Option<usize>,
    /// Override a value of the recipe, as in `optimizer.lr=1.0`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Folder of libtorch 2.11.0
    #[arg(long, value_name = "DIR")]
    pub libtorch: Option<PathBuf>,
    /// Go on from the last checkpoint of a run, a folder `run_N` [default: the newest run in --results]
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with_all = ["runs", "dry_run"])]
    pub resume: Option<Vec<PathBuf>>,
    /// With --resume: go on with another build of the programs too
    #[arg(long, requires = "resume")]
    pub force: bool,
    /// How often a run whose rank fails goes on from its last checkpoint
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_restarts: usize,
    #[command(flatten)]
    pub nodes: NodeArgs,
    /// Serve metrics for Prometheus at this port of this machine, or at ADDRESS:PORT
    #[arg(long, value_name = "PORT", value_parser = metrics_address)]
    pub metrics_port: Option<SocketAddr>,
    /// Show what would be done, but start nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Show only errors and the final table
    #[arg(long)]
    pub quiet: bool,
}

impl TrainArgs {
    /// `--set`, followed by the flags that set keys of a recipe, so that flags win.
    pub(super) fn all_overrides(&self) -> Vec<String> {
        let device = self.device.and_then(|device| device.to_possible_value());
        let flags = [
            device.map(|device| format!("run.device=\"{}\"", device.get_name())),
            self.seed.map(|seed| format!("run.seed={seed}")),
            self.nproc
                .map(|nproc| format!("run.num_ranks={}", nproc.get() * self.nodes.num_nodes())),
            self.runs.map(|runs| format!("mlperf.runs={runs}")),
        ];
        self.overrides.iter().cloned().chain(flags.into_iter().flatten()).collect()
    }

    /// The run that `--resume` names.
    pub(super) fn resumption(&self) -> Result<Option<Resumption>, LaunchError> {
        let Some(run) = &self.resume else { return Ok(None) };
        let newest = || match &self.system {
            Some(system) => self.results.join(system),
            None => self.results.clone(),
        };
        Resumption::find(&run.first().cloned().unwrap_or_else(newest)).map(Some)
    }

    /// The options with which the run of `resumption` goes on: its recipe, seed and place, unless others
    /// are given.
    pub(super) fn resuming(&self, resumption: &Resumption) -> Self {
        let mut args = Self { seed: self.seed.or(Some(resumption.seed())), ..self.clone() };
        if args.recipes.is_empty() {
            args.recipes = vec![resumption.recipe().display().to_string()];
        }
        if let Some((results, system)) = resumption.place() {
            (args.results, args.system) = (results.to_owned(), Some(system.to_owned()));
        }
        args.runs = NonZeroUsize::new(1);
        args
    }

    /// What a resumed run may differ in.
    pub(super) fn accepted_build(&self) -> AcceptedBuild {
        if self.force { AcceptedBuild::Any } else { AcceptedBuild::Same }
    }

    pub(super) fn as_plan(&self, recipe: &str) -> PlanArgs {
        PlanArgs {
            recipe: vec![recipe.to_owned()],
            data: self.data.clone(),
            nproc: None,
            throughput: None,
            gpu_memory: None,
            overrides: self.all_overrides(),
        }
    }
}

/// A port alone is one of the loopback interface, so that nobody else can read it.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| "write a port, as 9400, or an address, as 0.0.0.0:9400".to_owned())
}
