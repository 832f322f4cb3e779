//! Runs on several machines: `--nnodes`, `--node-rank` and `--rdzv`, as torchrun has them.

use std::num::NonZeroUsize;

use anyhow::{anyhow, bail};

use super::{
    exit::{Exit, Failure, OrExit, Outcome},
    given_weights::GivenWeights,
    job::{Job, ReadyJob},
    stage::Tools,
    train_args::TrainArgs,
};
use crate::{
    console::{self, Manner},
    launch::{
        self, Cluster, FirstNode, Interface, Interrupts, LaunchError, NodeError, NodeLaunch, Nodes,
        Offer, Order, OwnInputs, Rendezvous,
    },
    recipe::{self, WatchConfig},
    run_dir::DataStamp,
};

/// The options of a run on several machines.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// Number of machines, each with a mlperf-run of its own; --nproc counts the ranks of one
    #[arg(long, value_name = "N", requires_all = ["node_rank", "rdzv"])]
    nnodes: Option<NonZeroUsize>,
    /// Number of this machine, from 0; machine 0 writes the results
    #[arg(long, value_name = "K", requires = "nnodes")]
    node_rank: Option<usize>,
    /// Host and free port of machine 0, where all meet
    #[arg(long, value_name = "HOST:PORT", requires = "nnodes")]
    rdzv: Option<String>,
    /// Network interface to the other machines [default: the one that leads to machine 0]
    #[arg(long, value_name = "NAME", requires = "nnodes")]
    interface: Option<String>,
}

/// The place of this machine among several.
pub(super) struct Place {
    node: usize,
    rendezvous: Rendezvous,
    interface: Option<Interface>,
}

impl NodeArgs {
    /// Number of machines.
    pub(super) fn num_nodes(&self) -> usize {
        self.nnodes.map_or(1, NonZeroUsize::get)
    }

    /// The place of this machine; `None` if it is alone.
    pub(super) fn place(&self) -> anyhow::Result<Option<Place>> {
        let (num_nodes, Some(node), Some(rdzv)) = (self.num_nodes(), self.node_rank, &self.rdzv)
        else {
            return Ok(None);
        };
        if node >= num_nodes {
            bail!("--node-rank {node} is not below --nnodes {num_nodes}; machines count from 0");
        }
        let address = rdzv.rsplit_once(':').and_then(|(host, port)| {
            // An IPv6 address has colons of its own.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Some((host.to_owned(), port.parse().ok().filter(|port| *port != 0)?))
        });
        let address = address.filter(|(host, _)| !host.is_empty()).ok_or_else(|| {
            anyhow!(
                "--rdzv {rdzv} is not HOST:PORT; name machine 0 and a free port, as in node0:29400"
            )
        })?;
        let interface = self.interface.as_deref().map(Interface::named).transpose()?;
        let rendezvous = Rendezvous { num_nodes, address };
        Ok((num_nodes > 1).then_some(Place { node, rendezvous, interface }))
    }
}

impl Place {
    /// Whether this machine has rank 0.
    pub(super) fn is_first(&self) -> bool {
        self.node == 0
    }

    /// Waits for the other machines. All jobs must have as many ranks on each.
    pub(super) fn gather(
        self,
        jobs: &[ReadyJob],
        manner: Manner,
        interrupts: &Interrupts,
    ) -> Result<Cluster, NodeError> {
        let jobs: Vec<&Job> = jobs.iter().map(ReadyJob::job).collect();
        let first = jobs[0];
        let timeout_s = first.watch().join_timeout_s;
        if manner != Manner::Quiet {
            let Rendezvous { num_nodes, address: (host, port) } = &self.rendezvous;
            let others = console::counted(num_nodes - 1, "other machine");
            console::note(format!("waiting at {host}:{port} for {others}"));
        }
        let num_ranks = first.rank_layout().num_ranks;
        if jobs.iter().any(|job| job.rank_layout().num_ranks != num_ranks) {
            return Err(NodeError::UnequalRecipes);
        }
        let sizes = (num_ranks, timeout_s);
        let nodes = Nodes::gather(&self.rendezvous, sizes, interrupts)?;
        let interface = self.interface.or_else(|| nodes.interface());
        Ok(Cluster { nodes, host: self.rendezvous.address.0, interface })
    }

    /// Takes part in the runs of machine 0 until it says that there are no more.
    pub(super) fn serve(&self, args: &TrainArgs, manner: Manner) -> Outcome {
        let tools = Tools::find(args.libtorch.as_deref()).or_exit(Exit::Invalid)?;
        let interrupts = Interrupts::listen().or_exit(Exit::Bug)?;
        let joining = (self.node, join_timeout_s(args));
        let ended = match FirstNode::join(&self.rendezvous, joining, &interrupts) {
            Ok(first) => self.serve_first(&first, args, (&tools, &interrupts, manner)),
            Err(error) => Err(LaunchError::from(error)).or_exit(Exit::Invalid),
        };
        match ended {
            Err(failure) => match failure.error.downcast_ref::<LaunchError>() {
                Some(LaunchError::Node(NodeError::Interrupted)) => Ok(Exit::Incomplete),
                Some(LaunchError::Node(NodeError::Lost(_))) => {
                    Err(failure.error).or_exit(Exit::RankFailed)
                }
                _ => Err(failure),
            },
            ended => ended,
        }
    }

    fn serve_first(
        &self,
        first: &FirstNode,
        args: &TrainArgs,
        (tools, interrupts, manner): (&Tools, &Interrupts, Manner),
    ) -> Outcome {
        let interface = self.interface.clone().or_else(|| first.interface());
        loop {
            let offer = match first.next_order(interrupts).map_err(LaunchError::from) {
                Ok(Order::End(code)) => return Ok(Exit::from_code(code)),
                Ok(Order::Run(offer)) => offer,
                Err(error) => return Err(error).or_exit(Exit::RankFailed),
            };
            let accepted = accept(&offer, args, (tools, manner));
            let (job, data) = accepted.inspect_err(|failure| first.refuse(&failure.to_string()))?;
            let launch = NodeLaunch {
                offer: &offer,
                node: self.node,
                program: &tools.program.path,
                libtorch: &tools.libtorch,
                rank_layout: job.rank_layout(),
                data: &data.path,
                interface: interface.as_ref(),
            };
            if manner != Manner::Quiet {
                console::note(format!(
                    "{}: {} on node {}, in {}",
                    offer.manifest.recipe.name,
                    console::counted(offer.ranks_per_node, "rank"),
                    self.node,
                    offer.run_dir.display()
                ));
            }
            let ended = launch::run_node(&launch, first, interrupts).or_exit(Exit::Invalid)?;
            if let Some(code) = ended {
                return Ok(Exit::from_code(code));
            }
        }
    }
}

/// This machine's job and images for an offered run, if they are those of machine 0.
fn accept(
    offer: &Offer,
    args: &TrainArgs,
    (tools, manner): (&Tools, Manner),
) -> Result<(Job, DataStamp), Failure> {
    let args = TrainArgs { seed: Some(offer.seed), ..args.clone() };
    let name = args.recipes.get(offer.recipe_index);
    let missing = || anyhow!("this node has fewer recipes than node 0; give it the same --recipe");
    let job = Job::resolve(name.ok_or_else(missing).or_exit(Exit::Invalid)?, &args, manner)?;
    let (data_set, _) = job.images_on_disk(manner).or_exit(Exit::Invalid)?;
    let recipe = job.recipe_of(0, &data_set).or_exit(Exit::Invalid)?;
    GivenWeights::of(&recipe, &[]).or_exit(Exit::Invalid)?;
    let recipe = recipe.to_toml();
    let own = OwnInputs {
        recipe: &recipe,
        data_set: &data_set,
        program_sha256: &tools.program.sha256,
        libtorch: tools.libtorch.version(),
        num_ranks: job.rank_layout().num_ranks,
    };
    offer.check(&own).map_err(LaunchError::from).or_exit(Exit::Invalid)?;
    Ok((job, data_set))
}

/// How long machines wait for each other. What is wrong with the recipe, machine 0 has to hear later.
fn join_timeout_s(args: &TrainArgs) -> u64 {
    let first = args.recipes.first().and_then(|name| recipe::find(name).ok());
    let file = first.and_then(|source| recipe::load(&source, &args.all_overrides()).ok());
    file.map_or_else(WatchConfig::default, |file| file.train.watch).join_timeout_s
}
