//! Reference convergence points (RCPs): how long the reference recipe takes at a batch size, and
//! whether a closed submission is plausible by comparison (`rcp_checker` of `mlperf_logging`). The
//! length of a run is counted in epochs, in samples or in steps, as the benchmark has it.
//!
//! A submission that converges faster than the reference's mean is scaled up to that mean. A
//! submission that is below the mean by more than chance allows fails. The criterion is a one-sided
//! pooled t-test at 5 % between the n runs of the reference and the m runs of the submission that
//! count, with the same standard deviation for both. Solved for the mean:
//!
//! ```text
//! min = mean - t(0.95, n + m - 2) * stdev * sqrt(1 / n + 1 / m)
//! ```
//!
//! The reference finds this value by bisection. Open submissions and ruleset 0.7.0 have no such
//! test.

mod points;
mod student;
#[cfg(test)]
mod tests;

pub use points::{RcpTable, ReferenceConvergence, ReferencePoint, ReferenceRecipe};

use super::benchmark::num_dropped;
use crate::compliance::ConvergenceUnit;

/// How the reference value for a batch size was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A point with this batch size.
    Exact,
    /// Interpolated between two points.
    Interpolated,
    /// The smallest point, for a batch size below all points.
    Smallest,
}

/// How one run of a submission converged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunConvergence {
    /// `global_batch_size`.
    pub batch_size: Option<f64>,
    /// Length to the target; `None` if the run does not claim success.
    pub length: Option<f64>,
}

/// The test's result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RcpCheck {
    /// How the reference value was found.
    pub basis: Basis,
    /// The reference at the submission's batch size (or at the smallest known one).
    pub reference: ReferenceConvergence,
    /// The unit of all lengths.
    pub unit: ConvergenceUnit,
    /// `global_batch_size` of the submission.
    pub batch_size: f64,
    /// Olympic mean of the lengths of the submission's runs.
    pub mean: f64,
    /// Whether the submission is not faster than chance allows.
    pub passed: bool,
    /// The factor for the score: 1, or more for a submission that passes below the reference's mean.
    pub scaling: f64,
}

/// Why the test is impossible; each reason fails the submission.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RcpObstacle {
    /// A run does not log its batch size.
    #[error("a run does not log global_batch_size; log it")]
    NoBatchSize,
    /// The runs have different batch sizes.
    #[error("the runs have global_batch_size {0} and {1}; submit runs of one batch size")]
    BatchSizesDiffer(f64, f64),
    /// More runs failed than the mean drops, or there are too few runs.
    #[error(
        "insufficient convergence: {num_converged} of {num_runs} runs claim success; at most \
         {num_dropped} may fail, and at least {} are required", 2 * num_dropped + 1
    )]
    InsufficientConvergence {
        /// Runs that claim success.
        num_converged: usize,
        /// All runs.
        num_runs: usize,
        /// Runs that the mean drops at each end.
        num_dropped: usize,
    },
    /// The runs are not of one benchmark.
    #[error("the logs are of {0} and {1}; submit runs of one benchmark")]
    BenchmarksDiffer(String, String),
    /// The batch size is above all points.
    #[error(
        "missing RCP: global_batch_size {batch_size} is above {largest}, the largest point; \
         submit one of this batch size"
    )]
    AboveAll {
        /// The submission's batch size.
        batch_size: f64,
        /// The largest point's batch size.
        largest: f64,
    },
}

impl RcpTable {
    /// Tests the runs of a submission.
    pub fn check(&self, runs: &[RunConvergence]) -> Result<RcpCheck, RcpObstacle> {
        let batch_size = one_batch_size(runs)?;
        let mean = mean_length(runs, num_dropped(self.benchmark))?;
        let (basis, reference) = self.find(batch_size)?;
        let passed = mean >= reference.min;
        let scaling = if passed { (reference.mean / mean).max(1.0) } else { 1.0 };
        let unit = self.unit;
        Ok(RcpCheck { basis, reference, unit, batch_size, mean, passed, scaling })
    }

    /// The reference value at `batch_size`.
    pub fn find(&self, batch_size: f64) -> Result<(Basis, ReferenceConvergence), RcpObstacle> {
        let kept = self.used();
        let above = kept.partition_point(|point| point.batch_size < batch_size);
        match (above.checked_sub(1).map(|below| kept[below]), kept.get(above)) {
            (_, Some(point)) if point.batch_size.total_cmp(&batch_size).is_eq() => {
                Ok((Basis::Exact, *point))
            }
            (Some(low), Some(high)) => {
                Ok((Basis::Interpolated, self.between(&low, high, batch_size)))
            }
            (None, Some(smallest)) => Ok((Basis::Smallest, *smallest)),
            (low, None) => {
                let largest = low.map_or(0.0, |point| point.batch_size);
                Err(RcpObstacle::AboveAll { batch_size, largest })
            }
        }
    }
}

impl RcpCheck {
    /// The result in words.
    pub fn result(&self) -> String {
        let Self { mean, reference, batch_size, .. } = self;
        let decimals = if self.unit == ConvergenceUnit::Epochs { 2 } else { 0 };
        let place = match self.basis {
            Basis::Exact => format!("reference at batch size {batch_size}"),
            Basis::Interpolated => format!("reference interpolated to batch size {batch_size}"),
            Basis::Smallest => format!(
                "reference at batch size {}, the smallest known (here {batch_size})",
                reference.batch_size
            ),
        };
        format!(
            "{verdict}: {mean:.decimals$} {unit}; {place}: {:.decimals$}, at least {:.decimals$}",
            reference.mean,
            reference.min,
            unit = self.unit.as_str(),
            verdict = if self.passed { "passed" } else { "failed" },
        )
    }
}

fn one_batch_size(runs: &[RunConvergence]) -> Result<f64, RcpObstacle> {
    let mut sizes = runs.iter().map(|run| run.batch_size);
    let first = sizes.next().flatten().ok_or(RcpObstacle::NoBatchSize)?;
    for size in sizes {
        let size = size.ok_or(RcpObstacle::NoBatchSize)?;
        if size.total_cmp(&first).is_ne() {
            return Err(RcpObstacle::BatchSizesDiffer(first, size));
        }
    }
    Ok(first)
}

/// Olympic mean; failed runs count as the slowest.
fn mean_length(runs: &[RunConvergence], num_dropped: usize) -> Result<f64, RcpObstacle> {
    let lengths: Vec<f64> = runs.iter().filter_map(|run| run.length).collect();
    let num_failed = runs.len() - lengths.len();
    super::score::olympic_mean(&lengths, num_failed, num_dropped).ok_or(
        RcpObstacle::InsufficientConvergence {
            num_converged: lengths.len(),
            num_runs: runs.len(),
            num_dropped,
        },
    )
}
