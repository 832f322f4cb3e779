//! One training process of a run, started by `mlperf-run`, torchrun, srun or mpirun.

use std::process::ExitCode;

fn main() -> ExitCode {
    mlperf_run::cli::rank::main().into()
}
