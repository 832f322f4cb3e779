//! Why nodes do not meet, or lose each other.

use std::io;

/// An error of a run on several nodes.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Node 0 cannot listen.
    #[error(
        "cannot listen at {address} ({source}); start node 0 on that host, or choose another address \
         with --rdzv HOST:PORT"
    )]
    Listen {
        /// As `--rdzv` has it.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// Nodes are missing.
    #[error(
        "{missing} did not arrive within {timeout_s} s (arrived: {arrived}); start mlperf-run there \
         with the same --rdzv, or raise train.watch.join_timeout_s"
    )]
    Missing {
        /// Those that are missing, by number.
        missing: String,
        /// Those that are there, by number and host.
        arrived: String,
        /// How long node 0 has waited.
        timeout_s: u64,
    },
    /// Node 0 cannot be reached.
    #[error(
        "node 0 could not be reached at {address} within {timeout_s} s ({reason}); start it there with \
         --node-rank 0, and check --rdzv and the firewall"
    )]
    Unreachable {
        /// As `--rdzv` has it.
        address: String,
        /// How long this node has tried.
        timeout_s: u64,
        /// The system's last error.
        reason: String,
    },
    /// A node has reasons not to take part.
    #[error("node {node} on {host}: {reason}")]
    Refused {
        /// Its number.
        node: usize,
        /// Its name.
        host: String,
        /// One sentence that ends with the fix.
        reason: String,
    },
    /// Node 0 does not let this node in.
    #[error("node 0 refuses this node: {0}")]
    Rejected(String),
    /// The other end does not know the key.
    #[error("{0} has another MLPERF_RUN_KEY; set the same one on all nodes")]
    Key(String),
    /// The connection is lost.
    #[error(
        "{0} is lost: its launcher has ended, or its host or the network is down; see its messages"
    )]
    Lost(String),
    /// A node is there, but its inputs are not.
    #[error(
        "{name} was not ready within {timeout_s} s; raise train.watch.start_timeout_s if its disk is slow"
    )]
    NotReady {
        /// The node.
        name: String,
        /// How long node 0 has waited.
        timeout_s: u64,
    },
    /// This node has something else than node 0.
    #[error("{what} on this node and {first} on node 0; {fix}")]
    Differs {
        /// What this node has.
        what: String,
        /// What node 0 has.
        first: String,
        /// What to do.
        fix: &'static str,
    },
    /// Recipes want different numbers of ranks.
    #[error(
        "the recipes run on different numbers of ranks; give the number of each machine with --nproc"
    )]
    UnequalRecipes,
    /// There is no such interface.
    #[error("this machine has no network interface '{name}' with an address; it has {known}")]
    Interface {
        /// As `--interface` has it.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A signal came while nodes were waiting for each other.
    #[error("interrupted while nodes were meeting")]
    Interrupted,
}
