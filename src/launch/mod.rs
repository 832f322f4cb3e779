//! Starts one `mlperf-rank` process a device and stands over them until all are gone.
//!
//! Invariants: a rank that was started is stopped and reaped whatever happens here; the first
//! failure stops all ranks within five seconds; nothing in a results folder is ever overwritten.
//! Deliberately absent: tensors, the drawing of progress (an observer gets every event), and
//! other machines (torchrun, srun or mpirun start ranks there).

mod bench;
mod devices;
mod environment;
mod error;
mod images;
mod libtorch;
mod port;
mod process;
mod results;
mod run;
mod signals;
mod supervise;

pub use bench::{StepMeasurement, measure_steps};
pub use devices::{Device, Machine, RankLayout, host_name};
pub use error::{LaunchError, NoImages};
pub use images::Images;
pub use libtorch::Libtorch;
pub use port::MasterPort;
pub use process::find_rank_program;
pub use results::{EventLog, ResultsDir, RunFolder};
pub use run::{Launch, run};
pub use signals::Interrupts;
pub use supervise::{Ending, RankFailure};
