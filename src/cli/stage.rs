//! What all runs of a series have in common on this machine.

use std::path::Path;

use crate::{
    console::Manner,
    launch::{self, AcceptedBuild, Cluster, Interrupts, LaunchError, Libtorch, MasterPort},
    metrics::MetricsServer,
    run_dir::ProgramStamp,
};

/// What every run needs on this machine.
pub(super) struct Tools {
    pub(super) program: ProgramStamp,
    pub(super) libtorch: Libtorch,
    pub(super) port: MasterPort,
}

/// What all runs of a series have in common.
pub(super) struct Stage {
    pub(super) tools: Tools,
    pub(super) interrupts: Interrupts,
    pub(super) manner: Manner,
    /// What a resumed run may differ in.
    pub(super) accepted_build: AcceptedBuild,
    /// The other machines, if there are any.
    pub(super) cluster: Option<Cluster>,
    pub(super) metrics_server: Option<MetricsServer>,
}

impl Tools {
    pub(super) fn find(libtorch: Option<&Path>) -> Result<Self, LaunchError> {
        let libtorch = Libtorch::find(libtorch)?;
        let path = launch::find_rank_program()?;
        let program = ProgramStamp::of(&path).map_err(|source| LaunchError::Io {
            what: format!("read {}", path.display()),
            source,
        })?;
        let port = MasterPort::from_env()?;
        port.settle("127.0.0.1")?;
        Ok(Self { program, libtorch, port })
    }
}
