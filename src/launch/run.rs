//! Executes one run, from starting the first process to the end of the last.

use std::{env, path::Path, time::Instant};

use crossbeam_channel::{Sender, unbounded};

use super::{
    Ending, FirstNode, Interface, Interrupts, LaunchError, Libtorch, MasterPort, NodeError, Nodes,
    Offer, RankLayout,
    environment::{Placement, World},
    nodes::random_text,
    process::{RankCommand, RankProcess},
    supervise::{Process, ProcessEvent, Supervisor, Timeouts, supervise},
};
use crate::{
    events::RankEvent,
    recipe::Recipe,
    run_dir::{self, RunManifest},
};

/// The inputs of a run. `run_dir` contains its `recipe.toml`.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// The rank program.
    pub program: &'a Path,
    /// The libtorch that they load.
    pub libtorch: &'a Libtorch,
    /// The ranks of this machine and their devices.
    pub rank_layout: &'a RankLayout,
    /// The port on which rank 0 waits for the others.
    pub port: MasterPort,
    /// The folder for logs.
    pub run_dir: &'a Path,
    /// The place of the recipe on the command line, and the resolved recipe.
    pub recipe: (usize, &'a Recipe),
    /// What the run is made from.
    pub manifest: &'a RunManifest,
    /// The folder of the checkpoint to go on from.
    pub checkpoint: Option<&'a Path>,
    /// The other machines, if there are any.
    pub cluster: Option<&'a Cluster>,
}

/// The other nodes, seen from node 0.
pub struct Cluster {
    /// Their launchers.
    pub nodes: Nodes,
    /// The address of this machine that they know.
    pub host: String,
    /// The network to them.
    pub interface: Option<Interface>,
}

/// The inputs of a run on a node other than node 0.
#[derive(Clone, Copy)]
pub struct NodeLaunch<'a> {
    /// The run as node 0 describes it.
    pub offer: &'a Offer,
    /// The number of this node.
    pub node: usize,
    /// The rank program.
    pub program: &'a Path,
    /// The libtorch that they load.
    pub libtorch: &'a Libtorch,
    /// The ranks of this machine and their devices.
    pub rank_layout: &'a RankLayout,
    /// The images on this machine.
    pub data: &'a Path,
    /// The network to the other nodes.
    pub interface: Option<&'a Interface>,
}

/// Starts all ranks and returns when the last one has ended. The observer gets every event.
pub fn run(
    launch: &Launch<'_>,
    interrupts: &Interrupts,
    observer: &mut dyn FnMut(&RankEvent),
) -> Result<Ending, LaunchError> {
    if interrupts.pending() {
        return Ok(Ending { interrupted: true, ..Ending::default() });
    }
    let (placement, channel) = match launch.cluster {
        None => {
            let port = launch.port.settle("127.0.0.1")?;
            (Placement::alone(launch.rank_layout, port), unbounded())
        }
        Some(cluster) => {
            let placement = cluster.placement(launch)?;
            match cluster.start(launch, &placement, interrupts, observer) {
                Err(NodeError::Interrupted) => {
                    return Ok(Ending { interrupted: true, ..Ending::default() });
                }
                started => started?,
            }
            (placement, cluster.nodes.process_events())
        }
    };
    let (send, process_events) = channel;
    let recipe = launch.run_dir.join(run_dir::RECIPE);
    let world = World { rank_layout: launch.rank_layout, libtorch: launch.libtorch, placement };
    let ranks = Ranks {
        program: launch.program,
        recipe: &recipe,
        run_dir: launch.run_dir,
        checkpoint: launch.checkpoint,
        world,
    };
    let here = ranks.start(&send)?.into_iter();
    let here = here.map(|(_, process)| Box::new(process) as Box<dyn Process>);
    let elsewhere = launch.cluster.into_iter().flat_map(|cluster| cluster.nodes.ranks());
    let elsewhere = elsewhere.map(|rank| Box::new(rank) as Box<dyn Process>);
    let timeouts = Timeouts::of(&launch.recipe.1.train.watch);
    let supervisor = Supervisor::new(
        here.chain(elsewhere).collect(),
        timeouts,
        (launch.run_dir, Instant::now()),
    );
    Ok(supervise(supervisor, &process_events, interrupts.channel(), observer))
}

/// Takes part in a run of node 0, from making its folder to the end of its last rank. Returns the exit code
/// with which node 0 ends all nodes before that.
pub fn run_node(
    launch: &NodeLaunch<'_>,
    first: &FirstNode,
    interrupts: &Interrupts,
) -> Result<Option<u8>, LaunchError> {
    let offer = launch.offer;
    let prepared = offer
        .make_folder()
        .and_then(|sees_run| Ok((sees_run, offer.write_recipe(launch.node, launch.data)?)));
    let (sees_run, recipe) = prepared.inspect_err(|error| first.refuse(&error.to_string()))?;
    let placement = Placement {
        first_rank: launch.node * offer.ranks_per_node,
        world_size: offer.manifest.world_size,
        master: offer.master.clone(),
        key: offer.key.clone(),
        interface: launch.interface.cloned(),
    };
    let ranks = Ranks {
        program: launch.program,
        recipe: &recipe,
        run_dir: &offer.run_dir,
        checkpoint: offer.checkpoint.as_deref(),
        world: World { rank_layout: launch.rank_layout, libtorch: launch.libtorch, placement },
    };
    let place = (sees_run, ranks.world.placement.first_rank);
    first.run_ranks(place, |process_event| ranks.start(process_event), interrupts)
}

/// The ranks of this machine.
struct Ranks<'a> {
    program: &'a Path,
    recipe: &'a Path,
    run_dir: &'a Path,
    checkpoint: Option<&'a Path>,
    world: World<'a>,
}

impl Ranks<'_> {
    /// Starts them, with their numbers among all ranks.
    fn start(
        &self,
        process_event: &Sender<(usize, ProcessEvent)>,
    ) -> Result<Vec<(usize, RankProcess)>, LaunchError> {
        let start = |local_rank| {
            let rank = self.world.placement.first_rank + local_rank;
            let command = RankCommand {
                program: self.program,
                recipe: self.recipe,
                run_dir: self.run_dir,
                checkpoint: self.checkpoint,
                variables: self.world.variables(local_rank, |name| env::var_os(name)),
            };
            let process = RankProcess::start(rank, &command, process_event.clone());
            process.map(|process| (rank, process)).map_err(|source| LaunchError::Io {
                what: format!("start {}", self.program.display()),
                source,
            })
        };
        (0..self.world.rank_layout.num_ranks).map(start).collect()
    }
}

impl Cluster {
    fn placement(&self, launch: &Launch<'_>) -> Result<Placement, LaunchError> {
        let port = launch.port.settle(&self.host)?;
        Ok(Placement {
            first_rank: 0,
            world_size: launch.manifest.world_size,
            master: (self.host.clone(), port),
            key: random_text(),
            interface: self.interface.clone(),
        })
    }

    /// Has the other nodes start their ranks.
    fn start(
        &self,
        launch: &Launch<'_>,
        placement: &Placement,
        interrupts: &Interrupts,
        observer: &mut dyn FnMut(&RankEvent),
    ) -> Result<(), NodeError> {
        let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let offer = Offer {
            recipe_index: launch.recipe.0,
            recipe: launch.recipe.1.to_toml(),
            seed: launch.manifest.seed,
            run_dir: absolute(launch.run_dir),
            manifest: launch.manifest.clone(),
            checkpoint: launch.checkpoint.map(absolute),
            ranks_per_node: launch.rank_layout.num_ranks,
            master: placement.master.clone(),
            key: placement.key.clone(),
        };
        let timeout_s = launch.recipe.1.train.watch.start_timeout_s;
        let without_folder = self.nodes.start(&offer, timeout_s, interrupts)?;
        if !without_folder.is_empty() {
            let nodes: Vec<_> = without_folder.iter().map(ToString::to_string).collect();
            let message = format!(
                "{} is not a folder that node {} sees, so the run leaves no checkpoint that it can be \
                 resumed from; name a folder that all nodes share with --results",
                offer.run_dir.display(),
                nodes.join(", ")
            );
            observer(&RankEvent::Warning { message });
        }
        Ok(())
    }
}
