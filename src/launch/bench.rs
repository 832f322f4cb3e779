//! One rank that measures the training step instead of training.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use super::{LaunchError, Libtorch, RankLayout, environment::World};
use crate::events::{RankEvent, StepRates};
use crate::run_dir;

/// What to measure, and with what.
#[derive(Clone, Copy, Debug)]
pub struct StepMeasurement<'a> {
    /// The program of the ranks.
    pub program: &'a Path,
    /// The libtorch that it loads.
    pub libtorch: &'a Libtorch,
    /// One rank, and on what.
    pub rank_layout: &'a RankLayout,
    /// Folder with the `recipe.toml`.
    pub run_dir: &'a Path,
    /// Sides of the images, px.
    pub image_sizes: &'a [usize],
    /// Steps that count, of each side.
    pub num_steps: usize,
    /// Data set whose images the steps take; else they are grey.
    pub data: Option<&'a Path>,
}

/// Measures; the observer sees each side as it is done. What libraries print goes to standard error.
///
/// # Errors
/// The rank cannot be started, or why it gave up.
pub fn measure_steps(
    measurement: &StepMeasurement<'_>,
    observer: &mut dyn FnMut(&StepRates),
) -> Result<(), LaunchError> {
    // A world of one talks to nobody, so any port will do.
    let world =
        World { rank_layout: measurement.rank_layout, libtorch: measurement.libtorch, port: 0 };
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
