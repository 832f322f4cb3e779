//! Executes one run, from starting the first process to the end of the last.

use std::{env, path::Path, time::Instant};

use crossbeam_channel::unbounded;

use super::{
    Ending, Interrupts, LaunchError, Libtorch, MasterPort, RankLayout,
    environment::World,
    process::{RankCommand, RankProcess},
    supervise::{Supervisor, Timeouts, supervise},
};
use crate::{events::RankEvent, recipe::WatchConfig};

/// The inputs of a run. `run_dir` contains its `recipe.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The rank program.
    pub program: &'a Path,
    /// The libtorch that they load.
    pub libtorch: &'a Libtorch,
    /// The ranks and their devices.
    pub rank_layout: &'a RankLayout,
    /// The port on which rank 0 waits for the others.
    pub port: MasterPort,
    /// The folder for logs.
    pub run_dir: &'a Path,
    /// How long a rank may do nothing.
    pub watch: &'a WatchConfig,
    /// The folder of the checkpoint to go on from.
    pub checkpoint: Option<&'a Path>,
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
    let world = World {
        rank_layout: launch.rank_layout,
        libtorch: launch.libtorch,
        port: launch.port.settle()?,
    };
    let (send, process_event) = unbounded();
    let mut processes = Vec::with_capacity(launch.rank_layout.num_ranks);
    for rank in 0..launch.rank_layout.num_ranks {
        let variables = world.variables(rank, |name| env::var_os(name));
        let command = RankCommand {
            program: launch.program,
            run_dir: launch.run_dir,
            checkpoint: launch.checkpoint,
            variables,
        };
        let process = RankProcess::start(rank, &command, send.clone()).map_err(|source| {
            LaunchError::Io { what: format!("start {}", launch.program.display()), source }
        })?;
        processes.push(process);
    }
    let supervisor =
        Supervisor::new(processes, Timeouts::of(launch.watch), (launch.run_dir, Instant::now()));
    Ok(supervise(supervisor, &process_event, interrupts.channel(), observer))
}
