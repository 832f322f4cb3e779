//! Runs one rank that benchmarks the training step instead of training.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use super::{
    LaunchError, Libtorch, RankLayout,
    environment::{Placement, World},
};
use crate::{
    events::{RankEvent, StepRates},
    run_dir,
};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct StepMeasurement<'a> {
    /// The rank program.
    pub program: &'a Path,
    /// The libtorch that the rank loads.
    pub libtorch: &'a Libtorch,
    /// One rank, and its device.
    pub rank_layout: &'a RankLayout,
    /// Folder with the `recipe.toml`.
    pub run_dir: &'a Path,
    /// Image sizes, px.
    pub image_sizes: &'a [usize],
    /// Timed steps per image size.
    pub num_steps: usize,
    /// Data set for the images; without one, the images are grey.
    pub data: Option<&'a Path>,
}

/// Runs the measurement. The observer gets the result of each image size when it is done. Output of
/// libraries goes to standard error.
///
/// # Errors
/// The rank cannot be started, or the rank's own failure.
pub fn measure_steps(
    measurement: &StepMeasurement<'_>,
    observer: &mut dyn FnMut(&StepRates),
) -> Result<(), LaunchError> {
    // A single rank has no peers, so any port will do.
    let world = World {
        rank_layout: measurement.rank_layout,
        libtorch: measurement.libtorch,
        placement: Placement::alone(measurement.rank_layout, 0),
    };
    let image_sizes: Vec<String> = measurement.image_sizes.iter().map(usize::to_string).collect();
    let cannot = |source| LaunchError::Io {
        what: format!("start {}", measurement.program.display()),
        source,
    };
    let data = measurement.data.map(|path| [Path::new("--bench-data"), path]);
    let mut child = Command::new(measurement.program)
        .arg("--recipe")
        .arg(measurement.run_dir.join(run_dir::RECIPE))
        .arg("--run-dir")
        .arg(measurement.run_dir)
        .args(["--bench-steps", &measurement.num_steps.to_string()])
        .args(["--sides", &image_sizes.join(",")])
        .args(data.into_iter().flatten())
        .envs(world.variables(0, |name| env::var_os(name)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let mut failure = None;
    let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(rates) = StepRates::from_line(&line) {
            observer(&rates);
        } else if let Some(RankEvent::Failed { message, .. }) = RankEvent::from_line(&line) {
            failure = Some(message);
        }
    }
    let status = child.wait().map_err(cannot)?;
    match failure {
        Some(message) => Err(LaunchError::Measurement(message)),
        None if !status.success() => {
            Err(LaunchError::Measurement(format!("the rank ended with {status}")))
        }
        None => Ok(()),
    }
}
