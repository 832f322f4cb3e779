//! Runs ranks that benchmark instead of training.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{
    LaunchError, Libtorch, RankLayout,
    environment::{Placement, World},
};
use crate::{
    events::{AllReduceRate, RankEvent, StepRates},
    run_dir,
};

/// The ranks of a benchmark.
#[derive(Clone, Copy, Debug)]
pub struct BenchRanks<'a> {
    /// The rank program.
    pub program: &'a Path,
    /// The libtorch that the ranks load.
    pub libtorch: &'a Libtorch,
    /// The ranks and their device.
    pub rank_layout: &'a RankLayout,
    /// Folder with the `recipe.toml`.
    pub run_dir: &'a Path,
}

/// What to measure of the training step.
#[derive(Clone, Copy, Debug)]
pub struct StepMeasurement<'a> {
    /// Image sizes, px.
    pub image_sizes: &'a [usize],
    /// Timed steps per image size.
    pub num_steps: usize,
    /// Data set for the images; without one, the images are grey.
    pub data: Option<&'a Path>,
}

/// Measures the training step of one rank. The observer gets the result of each image size when it is
/// done. Output of libraries goes to standard error.
///
/// # Errors
/// The rank cannot be started, or the rank's own failure.
pub fn measure_steps(
    ranks: &BenchRanks<'_>,
    measurement: &StepMeasurement<'_>,
    observer: &mut dyn FnMut(&StepRates),
) -> Result<(), LaunchError> {
    // A single rank has no peers, so any port will do.
    let placement = Placement::alone(ranks.rank_layout, 0);
    let num_steps = measurement.num_steps.to_string();
    let image_sizes = joined(measurement.image_sizes);
    let mut args = vec!["--bench-steps", &num_steps, "--sides", &image_sizes];
    let data = measurement.data.map(|path| path.display().to_string());
    args.extend(data.iter().flat_map(|path| ["--bench-data", path]));
    ranks.run(placement, &args, &mut |line| {
        StepRates::from_line(line).iter().for_each(&mut *observer);
    })
}

/// Measures the all-reduce of tensors of `sizes`, in bytes. The observer gets the result of each.
///
/// # Errors
/// The ranks cannot be started, or a rank's own failure.
pub fn measure_all_reduce(
    ranks: &BenchRanks<'_>,
    port: u16,
    sizes: &[usize],
    observer: &mut dyn FnMut(&AllReduceRate),
) -> Result<(), LaunchError> {
    let placement = Placement::alone(ranks.rank_layout, port);
    ranks.run(placement, &["--bench-all-reduce", &joined(sizes)], &mut |line| {
        AllReduceRate::from_line(line).iter().for_each(&mut *observer);
    })
}

impl BenchRanks<'_> {
    /// Runs all ranks with `args` to their end. `listen` gets every line that rank 0 prints.
    fn run(
        &self,
        placement: Placement,
        args: &[&str],
        listen: &mut dyn FnMut(&str),
    ) -> Result<(), LaunchError> {
        let world = World { rank_layout: self.rank_layout, libtorch: self.libtorch, placement };
        let cannot =
            |source| LaunchError::Io { what: format!("start {}", self.program.display()), source };
        let start = |rank: usize| {
            Command::new(self.program)
                .arg("--recipe")
                .arg(self.run_dir.join(run_dir::RECIPE))
                .arg("--run-dir")
                .arg(self.run_dir)
                .args(args)
                .envs(world.variables(rank, |name| env::var_os(name)))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
        };
        let ranks: Result<Vec<Child>, _> = (0..self.rank_layout.num_ranks).map(start).collect();
        let mut failures = Vec::new();
        for (rank, mut child) in ranks.map_err(cannot)?.into_iter().enumerate() {
            let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
            for line in lines.map_while(Result::ok) {
                match RankEvent::from_line(&line) {
                    Some(RankEvent::Failed { kind, message, .. }) => failures.push((kind, message)),
                    _ if rank == 0 => listen(&line),
                    _ => {}
                }
            }
            let status = child.wait().map_err(cannot)?;
            if !status.success() && failures.is_empty() {
                return Err(LaunchError::Measurement(format!("rank {rank} ended with {status}")));
            }
        }
        // Ranks that lost another one know less than that one.
        match failures.into_iter().min_by_key(|(kind, _)| *kind) {
            Some((_, message)) => Err(LaunchError::Measurement(message)),
            None => Ok(()),
        }
    }
}

fn joined(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}
