//! Starts one `mlperf-rank` process per device and supervises them until all have ended.
//!
//! Invariants: every started rank is stopped and reaped, whatever happens here. The first failure
//! stops all ranks within five seconds. Nothing in a results folder is ever overwritten.
//!
//! Not here: tensors, and progress display (an observer gets every event).

mod devices;
mod environment;
mod error;
mod images;
mod libtorch;
mod nodes;
mod port;
mod process;
mod recipe_values;
mod results;
mod resume;
mod run;
mod signals;
mod supervise;
mod tasks;
mod watch;

pub use devices::{Device, Machine, RankLayout, host_name};
pub use error::{LaunchError, NoImages};
pub use images::Images;
pub use libtorch::Libtorch;
pub use nodes::{FirstNode, Interface, NodeError, Nodes, Offer, Order, OwnInputs, Rendezvous};
pub use port::MasterPort;
pub use process::find_rank_program;
pub use results::{EventLog, ResultsDir, RunFolder};
pub use resume::{AcceptedBuild, Resumption};
pub use run::{Cluster, Launch, NodeLaunch, run, run_node};
pub use signals::Interrupts;
pub use supervise::{Ending, RankFailure};
pub use tasks::{StepMeasurement, TaskRanks, measure_all_reduce, measure_steps};
