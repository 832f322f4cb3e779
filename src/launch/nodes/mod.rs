//! A run on several machines, the nodes. Their launchers meet at the address of node 0, as torchrun's
//! agents do.
//!
//! Node 0 owns the run: its folder, its log, its supervision. The launcher of every other node starts
//! the ranks of its machine when node 0 says so, passes on what they report, and sends them the signals
//! that node 0 sends. So node 0 treats all ranks alike, and a rank that fails anywhere ends the run as it
//! does on one machine. Before that, each node checks that it has the same recipe, images and programs.
//!
//! Launchers exchange lines of JSON ([`wire`]). Each says every second that it is there; one that does
//! not for ten seconds is lost, and its ranks with it.

mod access;
mod agent;
mod error;
mod first;
mod interface;
mod offer;
mod wire;

pub(super) use access::random_text;
pub use agent::{FirstNode, Order};
pub use error::NodeError;
pub use first::Nodes;
pub use interface::Interface;
pub use offer::{Offer, OwnInputs};

/// Where nodes meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// Number of nodes.
    pub num_nodes: usize,
    /// Host or address of node 0, and the port that it listens on.
    pub address: (String, u16),
}
