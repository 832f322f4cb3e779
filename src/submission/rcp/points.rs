//! The published points: their statistics, and which of them the test uses.

use std::sync::LazyLock;

use serde::Deserialize;

use super::student::t_95;
use crate::compliance::{ConvergenceUnit, Ruleset};
use crate::submission::benchmark::{num_dropped, num_runs};

/// How the reference converges at a batch size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceConvergence {
    /// `global_batch_size`.
    pub batch_size: f64,
    /// Mean length of its runs without the fastest and the slowest.
    pub mean: f64,
    /// Standard deviation over all of its runs.
    pub stdev: f64,
    /// The lowest mean that a submission may have.
    pub min: f64,
}

impl ReferenceConvergence {
    /// How many times faster than the reference's mean a submission may converge.
    pub fn max_speedup(&self) -> f64 {
        self.mean / self.min
    }
}

/// The LARS hyperparameters of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceRecipe {
    /// Base learning rate.
    pub learning_rate: f64,
    /// Warm-up epochs.
    pub warmup_epochs: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

/// One published point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferencePoint {
    /// How the reference converges.
    pub convergence: ReferenceConvergence,
    /// Number of reference runs.
    pub num_runs: usize,
    /// Their hyperparameters, if they are known.
    pub recipe: Option<ReferenceRecipe>,
    /// Not used, because the point is slower than the line between its neighbours, or has a smaller
    /// batch size than the fastest point.
    pub pruned: bool,
}

/// The points of one benchmark in one ruleset.
#[derive(Clone, Debug, PartialEq)]
pub struct RcpTable {
    /// The benchmark.
    pub benchmark: &'static str,
    /// The unit of the points.
    pub unit: ConvergenceUnit,
    /// By batch size.
    pub points: Vec<ReferencePoint>,
    statistics: Statistics,
}

/// The numbers of runs that the statistics of a benchmark depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Statistics {
    /// Runs that the mean drops at each end.
    num_dropped: usize,
    /// Runs of a submission.
    num_runs: usize,
    /// Length by which a submission may be below the test's limit.
    slack: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PointsFile {
    #[serde(default)]
    slack: f64,
    point: Vec<RawPoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPoint {
    batch_size: f64,
    since: Ruleset,
    until: Ruleset,
    /// The length of each run, in ascending order, in one of the units.
    #[serde(default)]
    epochs: Vec<f64>,
    #[serde(default)]
    samples: Vec<f64>,
    #[serde(default)]
    steps: Vec<f64>,
    lars: Option<ReferenceRecipe>,
}

impl RawPoint {
    fn lengths(&self) -> (ConvergenceUnit, &[f64]) {
        match (&self.epochs[..], &self.samples[..]) {
            ([], []) => (ConvergenceUnit::Steps, &self.steps),
            ([], samples) => (ConvergenceUnit::Samples, samples),
            (epochs, _) => (ConvergenceUnit::Epochs, epochs),
        }
    }
}

/// Lists the benchmarks with published points.
macro_rules! points {
    ($($name:literal)*) => {
        static POINTS: [(&str, LazyLock<PointsFile>); [$($name),*].len()] = [
            $(($name, LazyLock::new(|| {
                let text = include_str!(concat!("../rcps/", $name, ".toml"));
                toml::from_str(text).unwrap_or_else(|error| panic!("{}.toml: {error}", $name))
            })),)*
        ];
    };
}

points! {
    "bert" "deepseekv3_671b" "dlrm" "dlrm_dcnv2" "dlrmv4" "flux1" "gnn" "gpt3" "gpt_oss_20b"
    "llama2_70b_lora" "llama31_405b" "llama31_8b" "maskrcnn" "qwen35_397b_grpo" "resnet"
    "retinanet" "rgat" "rnnt" "ssd" "stable_diffusion" "unet3d"
}

impl RcpTable {
    /// The table of `benchmark` in `ruleset`; 0.7.0 has none, nor has minigo.
    pub fn of(benchmark: &str, ruleset: Ruleset) -> Option<Self> {
        let (name, file) = POINTS.iter().find(|(name, _)| *name == benchmark)?;
        let statistics = Statistics {
            num_dropped: num_dropped(name),
            num_runs: num_runs(name),
            slack: file.slack,
        };
        let holds = |raw: &&RawPoint| (raw.since..=raw.until).contains(&ruleset);
        let (unit, _) = file.point.iter().find(holds)?.lengths();
        let mut points: Vec<_> =
            file.point.iter().filter(holds).map(|raw| statistics.point(raw)).collect();
        points.sort_by(|a, b| a.convergence.batch_size.total_cmp(&b.convergence.batch_size));
        statistics.prune(&mut points);
        Some(Self { benchmark: name, unit, points, statistics })
    }

    /// The points that the test uses.
    pub(super) fn used(&self) -> Vec<ReferenceConvergence> {
        let used = self.points.iter().filter(|point| !point.pruned);
        used.map(|point| point.convergence).collect()
    }

    /// Interpolates linearly between two points.
    pub(super) fn between(
        &self,
        low: &ReferenceConvergence,
        high: &ReferenceConvergence,
        batch_size: f64,
    ) -> ReferenceConvergence {
        self.statistics.between(low, high, batch_size)
    }
}

impl Statistics {
    fn point(&self, raw: &RawPoint) -> ReferencePoint {
        let (_, lengths) = raw.lengths();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let center = mean(lengths);
        let squares: Vec<f64> = lengths.iter().map(|length| (length - center).powi(2)).collect();
        let counted = &lengths[self.num_dropped..lengths.len() - self.num_dropped];
        let stdev = mean(&squares).sqrt();
        ReferencePoint {
            convergence: self.convergence(raw.batch_size, mean(counted), stdev, counted.len()),
            num_runs: lengths.len(),
            recipe: raw.lars,
            pruned: false,
        }
    }

    fn between(
        &self,
        low: &ReferenceConvergence,
        high: &ReferenceConvergence,
        batch_size: f64,
    ) -> ReferenceConvergence {
        let fraction = (batch_size - low.batch_size) / (high.batch_size - low.batch_size);
        let at = |from: f64, to: f64| from + fraction * (to - from);
        // An interpolated point counts as having twice the runs of a submission.
        self.convergence(
            batch_size,
            at(low.mean, high.mean),
            at(low.stdev, high.stdev),
            2 * self.num_runs,
        )
    }

    fn convergence(
        &self,
        batch_size: f64,
        mean: f64,
        stdev: f64,
        num_reference: usize,
    ) -> ReferenceConvergence {
        // Two runs of a submission do not count, whatever its number of dropped runs is.
        let num_counted = self.num_runs - 2;
        let error = stdev * (1.0 / num_reference as f64 + 1.0 / num_counted as f64).sqrt();
        let min = mean - t_95(num_reference + num_counted - 2) * error - self.slack;
        ReferenceConvergence { batch_size, mean, stdev, min }
    }

    /// Marks the points that are not used: first those below the batch size of the fastest point,
    /// then, in one ascending pass, those slower than the line between their remaining neighbours.
    fn prune(&self, points: &mut [ReferencePoint]) {
        let mean = |place: usize, points: &[ReferencePoint]| points[place].convergence.mean;
        // Of equally fast points, the one with the smallest batch size comes first.
        let fastest =
            (0..points.len()).min_by(|a, b| mean(*a, points).total_cmp(&mean(*b, points)));
        let Some(fastest) = fastest else { return };
        points[..fastest].iter_mut().for_each(|point| point.pruned = true);
        let mut kept: Vec<usize> = (fastest..points.len()).collect();
        let mut at = 1;
        while at + 1 < kept.len() {
            let [low, this, high] =
                [at - 1, at, at + 1].map(|place| points[kept[place]].convergence);
            if this.mean > self.between(&low, &high, this.batch_size).mean {
                // Continue with the next point; the previous one is not checked again.
                points[kept.remove(at)].pruned = true;
            } else {
                at += 1;
            }
        }
    }
}
