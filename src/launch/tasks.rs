//! Runs ranks that do something else than training: benchmarks, evaluation, predictions.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use crossbeam_channel::unbounded;

use super::{
    LaunchError, Libtorch, RankLayout,
    environment::{Placement, World},
};
use crate::{
    events::{AllReduceRate, RankEvent, StepRates},
    run_dir,
};

/// The ranks of a task.
#[derive(Clone, Copy, Debug)]
pub struct TaskRanks<'a> {
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
    ranks: &TaskRanks<'_>,
    measurement: &StepMeasurement<'_>,
    observer: &mut dyn FnMut(&StepRates),
) -> Result<(), LaunchError> {
    let num_steps = measurement.num_steps.to_string();
    let image_sizes = joined(measurement.image_sizes);
    let mut args = vec!["--bench-steps", &num_steps, "--sides", &image_sizes];
    let data = measurement.data.map(|path| path.display().to_string());
    args.extend(data.iter().flat_map(|path| ["--bench-data", path]));
    ranks.run_one(&args, &mut |line| {
        StepRates::from_line(line).iter().for_each(&mut *observer);
    })
}

/// Measures the all-reduce of tensors of `sizes`, in bytes. The observer gets the result of each.
///
/// # Errors
/// The ranks cannot be started, or a rank's own failure.
pub fn measure_all_reduce(
    ranks: &TaskRanks<'_>,
    port: u16,
    sizes: &[usize],
    observer: &mut dyn FnMut(&AllReduceRate),
) -> Result<(), LaunchError> {
    let placement = Placement::alone(ranks.rank_layout, port);
    ranks.run(placement, &["--bench-all-reduce", &joined(sizes)], &mut |line| {
        AllReduceRate::from_line(line).iter().for_each(&mut *observer);
    })
}

impl TaskRanks<'_> {
    /// Runs a single rank with `args` to its end. `listen` gets every line that it prints.
    ///
    /// # Errors
    /// The rank cannot be started, or the rank's own failure.
    pub fn run_one(&self, args: &[&str], listen: &mut dyn FnMut(&str)) -> Result<(), LaunchError> {
        // A single rank has no peers, so any port will do.
        self.run(Placement::alone(self.rank_layout, 0), args, listen)
    }

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
        let mut children = Children::default();
        let (send, lines) = unbounded();
        for rank in 0..self.rank_layout.num_ranks {
            let mut child = start(rank).map_err(cannot)?;
            let stdout = child.stdout.take().expect("it was asked for");
            children.0.push(child);
            let send = send.clone();
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok).map(Some);
                // The last word, `None`, says that the rank has closed its output.
                lines
                    .chain([None])
                    .take_while(|line| send.send((rank, line.clone())).is_ok())
                    .count()
            });
        }
        drop(send);
        let mut failures = Vec::new();
        for (rank, line) in lines {
            let Some(line) = line else {
                let status = children.0[rank].wait().map_err(cannot)?;
                if !status.success() && failures.is_empty() {
                    // The others would wait for it.
                    return Err(LaunchError::Task(format!("rank {rank} ended with {status}")));
                }
                continue;
            };
            match RankEvent::from_line(&line) {
                Some(RankEvent::Failed { kind, message, .. }) => failures.push((kind, message)),
                _ if rank == 0 => listen(&line),
                _ => {}
            }
        }
        // Ranks that lost another one know less than that one.
        match failures.into_iter().min_by_key(|(kind, _)| *kind) {
            Some((_, message)) => Err(LaunchError::Task(message)),
            None => Ok(()),
        }
    }
}

/// Started ranks. Dropping them kills and reaps them.
#[derive(Default)]
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail only if it has ended and was reaped.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn joined(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}
