//! Reference convergence points (RCPs): how many epochs the reference recipe takes at a batch size,
//! and whether a closed submission is plausible by comparison (`rcp_checker` of `mlperf_logging`).
//!
//! A submission that converges in fewer epochs than the reference's mean is scaled up to that mean.
//! A submission that is below the mean by more than chance allows fails. The criterion is a
//! one-sided pooled t-test at 5 % between the reference's runs and three of the submission's, with
//! the same standard deviation for both. Solved for the mean:
//!
//! ```text
//! min = mean - t(0.95, n + 1) * stdev * sqrt(1 / n + 1 / 3)
//! ```
//!
//! The reference finds this value by bisection. Open submissions and ruleset 0.7.0 have no such
//! test.

use serde::Deserialize;

use crate::compliance::Ruleset;

/// The published points.
const POINTS: &str = include_str!("rcps.toml");

/// Runs of a submission that count: five minus the fastest and the slowest.
const NUM_COUNTED: f64 = 3.0;

/// Reference runs behind an interpolated point: twice the number of a submission.
const NUM_INTERPOLATED: usize = 10;

/// 95 % quantile of Student's t for 1, 2, .. degrees of freedom.
const T_95: [f64; 30] = [
    6.313_752, 2.919_986, 2.353_363, 2.131_847, 2.015_048, 1.943_180, 1.894_579, 1.859_548,
    1.833_113, 1.812_461, 1.795_885, 1.782_288, 1.770_933, 1.761_310, 1.753_050, 1.745_884,
    1.739_607, 1.734_064, 1.729_133, 1.724_718, 1.720_743, 1.717_144, 1.713_872, 1.710_882,
    1.708_141, 1.705_618, 1.703_288, 1.701_131, 1.699_127, 1.697_261,
];

/// How the reference converges at a batch size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convergence {
    /// `global_batch_size`.
    pub batch_size: f64,
    /// Mean epochs of its runs without the fastest and the slowest.
    pub mean_epochs: f64,
    /// Standard deviation over all of its runs.
    pub stdev_epochs: f64,
    /// The lowest mean epochs that a submission may have.
    pub min_epochs: f64,
}

impl Convergence {
    /// From the epochs of runs in ascending order.
    fn of_runs(batch_size: f64, epochs: &[f64]) -> Self {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let center = mean(epochs);
        let squares: Vec<f64> = epochs.iter().map(|epoch| (epoch - center).powi(2)).collect();
        let counted = &epochs[1..epochs.len() - 1];
        Self::new(batch_size, mean(counted), mean(&squares).sqrt(), counted.len())
    }

    /// Interpolates linearly between two points.
    fn between(low: &Self, high: &Self, batch_size: f64) -> Self {
        let fraction = (batch_size - low.batch_size) / (high.batch_size - low.batch_size);
        let at = |from: f64, to: f64| from + fraction * (to - from);
        let mean = at(low.mean_epochs, high.mean_epochs);
        Self::new(batch_size, mean, at(low.stdev_epochs, high.stdev_epochs), NUM_INTERPOLATED)
    }

    fn new(batch_size: f64, mean_epochs: f64, stdev_epochs: f64, num_runs: usize) -> Self {
        let error = stdev_epochs * (1.0 / num_runs as f64 + 1.0 / NUM_COUNTED).sqrt();
        // num_runs + NUM_COUNTED - 2 degrees of freedom; index 0 has 1 degree.
        let min_epochs = mean_epochs - T_95[num_runs] * error;
        Self { batch_size, mean_epochs, stdev_epochs, min_epochs }
    }

    /// How many times faster than the reference's mean a submission may converge.
    pub fn max_speedup(&self) -> f64 {
        self.mean_epochs / self.min_epochs
    }
}

/// The LARS hyperparameters of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
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
    pub convergence: Convergence,
    /// Number of reference runs.
    pub num_runs: usize,
    /// Their hyperparameters.
    pub recipe: ReferenceRecipe,
    /// Not used, because the point is slower than the line between its neighbours, or has a smaller
    /// batch size than the fastest point.
    pub pruned: bool,
}

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
    /// Epochs to the target; `None` if the run does not claim success.
    pub epochs: Option<f64>,
}

/// The test's result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RcpCheck {
    /// How the reference value was found.
    pub basis: Basis,
    /// The reference at the submission's batch size (or at the smallest known one).
    pub reference: Convergence,
    /// `global_batch_size` of the submission.
    pub batch_size: f64,
    /// Olympic mean of the epochs of the submission's runs.
    pub mean_epochs: f64,
    /// Whether the submission is not faster than chance allows.
    pub passed: bool,
    /// The factor for the score: 1, or more for a submission that passes with fewer epochs than the
    /// reference's mean.
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
    /// More than one run failed, or there are too few runs.
    #[error(
        "insufficient convergence: {num_converged} of {num_runs} runs claim success; at most one \
         run may fail, and at least three are required"
    )]
    InsufficientConvergence {
        /// Runs that claim success.
        num_converged: usize,
        /// All runs.
        num_runs: usize,
    },
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

/// The points of one ruleset.
#[derive(Clone, Debug, PartialEq)]
pub struct RcpTable {
    /// By batch size.
    pub points: Vec<ReferencePoint>,
}

#[derive(Deserialize)]
struct PointsFile {
    point: Vec<RawPoint>,
}

#[derive(Deserialize)]
struct RawPoint {
    batch_size: f64,
    since: String,
    until: String,
    epochs: Vec<f64>,
    #[serde(flatten)]
    recipe: ReferenceRecipe,
}

impl RcpTable {
    /// The table of `ruleset`; 0.7.0 has none.
    pub fn of(ruleset: Ruleset) -> Option<Self> {
        let file: PointsFile = toml::from_str(POINTS).expect("a test reads the built-in points");
        let named = |name: &str| name.parse::<Ruleset>().expect("a test reads the rulesets");
        let held = |raw: &RawPoint| (named(&raw.since)..=named(&raw.until)).contains(&ruleset);
        let mut points: Vec<_> = file.point.iter().filter(|raw| held(raw)).map(point).collect();
        points.sort_by(|a, b| a.convergence.batch_size.total_cmp(&b.convergence.batch_size));
        prune(&mut points);
        (!points.is_empty()).then_some(Self { points })
    }

    /// Tests the runs of a submission.
    pub fn check(&self, runs: &[RunConvergence]) -> Result<RcpCheck, RcpObstacle> {
        let batch_size = one_batch_size(runs)?;
        let mean_epochs = mean_epochs(runs)?;
        let (basis, reference) = self.find(batch_size)?;
        let passed = mean_epochs >= reference.min_epochs;
        let scaling = if passed { (reference.mean_epochs / mean_epochs).max(1.0) } else { 1.0 };
        Ok(RcpCheck { basis, reference, batch_size, mean_epochs, passed, scaling })
    }

    /// The reference value at `batch_size`.
    pub fn find(&self, batch_size: f64) -> Result<(Basis, Convergence), RcpObstacle> {
        let kept = self.points.iter().filter(|point| !point.pruned).map(|point| point.convergence);
        let kept: Vec<_> = kept.collect();
        let above = kept.partition_point(|point| point.batch_size < batch_size);
        match (above.checked_sub(1).map(|below| kept[below]), kept.get(above)) {
            (_, Some(point)) if point.batch_size.total_cmp(&batch_size).is_eq() => {
                Ok((Basis::Exact, *point))
            }
            (Some(low), Some(high)) => {
                Ok((Basis::Interpolated, Convergence::between(&low, high, batch_size)))
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
        let Self { mean_epochs, reference, batch_size, .. } = self;
        let place = match self.basis {
            Basis::Exact => format!("reference at batch size {batch_size}"),
            Basis::Interpolated => format!("reference interpolated to batch size {batch_size}"),
            Basis::Smallest => format!(
                "reference at batch size {}, the smallest known (here {batch_size})",
                reference.batch_size
            ),
        };
        format!(
            "{verdict}: {mean_epochs:.2} epochs; {place}: {:.2}, at least {:.2}",
            reference.mean_epochs,
            reference.min_epochs,
            verdict = if self.passed { "passed" } else { "failed" },
        )
    }
}

fn point(raw: &RawPoint) -> ReferencePoint {
    ReferencePoint {
        convergence: Convergence::of_runs(raw.batch_size, &raw.epochs),
        num_runs: raw.epochs.len(),
        recipe: raw.recipe,
        pruned: false,
    }
}

/// Marks the points that are not used: first those below the batch size of the fastest point, then,
/// in one ascending pass, those slower than the line between their remaining neighbours.
fn prune(points: &mut [ReferencePoint]) {
    let mean = |place: usize, points: &[ReferencePoint]| points[place].convergence.mean_epochs;
    // Of equally fast points, the one with the smallest batch size comes first.
    let fastest = (0..points.len()).min_by(|a, b| mean(*a, points).total_cmp(&mean(*b, points)));
    let Some(fastest) = fastest else { return };
    points[..fastest].iter_mut().for_each(|point| point.pruned = true);
    let mut kept: Vec<usize> = (fastest..points.len()).collect();
    let mut at = 1;
    while at + 1 < kept.len() {
        let [low, this, high] = [at - 1, at, at + 1].map(|place| points[kept[place]].convergence);
        if this.mean_epochs > Convergence::between(&low, &high, this.batch_size).mean_epochs {
            // Continue with the next point; the previous one is not checked again.
            points[kept.remove(at)].pruned = true;
        } else {
            at += 1;
        }
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

/// Olympic mean; a failed run counts as the slowest.
fn mean_epochs(runs: &[RunConvergence]) -> Result<f64, RcpObstacle> {
    let epochs: Vec<f64> = runs.iter().filter_map(|run| run.epochs).collect();
    super::score::olympic_mean(&epochs, runs.len() - epochs.len()).filter(|_| runs.len() > 2).ok_or(
        RcpObstacle::InsufficientConvergence { num_converged: epochs.len(), num_runs: runs.len() },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    fn runs(batch_size: f64, epochs: &[f64]) -> Vec<RunConvergence> {
        let run = |epochs: &f64| RunConvergence {
            batch_size: Some(batch_size),
            epochs: epochs.is_finite().then_some(*epochs),
        };
        epochs.iter().map(run).collect()
    }

    /// Published means, standard deviations and lowest epochs (`rcp_checker`'s own output).
    #[test]
    fn points_have_the_published_statistics() {
        assert_eq!(RcpTable::of(Ruleset::V0_7_0), None);
        let table = RcpTable::of(Ruleset::V4_0_0).unwrap();
        for (batch_size, mean, stdev, min) in [
            (1632.0, 35.0, 1.084_652, 33.802_342),
            (3264.0, 35.153_846, 0.748_331, 34.309_645),
            (2048.0, 35.039_216, 0.998_923, 33.858_261),
            (3200.0, 35.147_813, 0.761_521, 34.247_578),
        ] {
            let (_, found) = table.find(batch_size).unwrap();
            assert!(close(found.mean_epochs, mean), "{found:?}");
            assert!(close(found.stdev_epochs, stdev), "{found:?}");
            assert!(close(found.min_epochs, min), "{found:?}");
        }
    }

    #[test]
    fn each_round_keeps_its_points() {
        let kept = |ruleset| -> Vec<f64> {
            let table = RcpTable::of(ruleset).unwrap();
            let kept = table.points.iter().filter(|point| !point.pruned);
            kept.map(|point| point.convergence.batch_size).collect()
        };
        let small = [1632.0, 3264.0, 32_768.0];
        assert_eq!(kept(Ruleset::V1_0_0), [&small[..], &[65_536.0]].concat());
        assert_eq!(kept(Ruleset::V1_1_0), [&small[..], &[49_152.0, 65_536.0]].concat());
        for ruleset in [Ruleset::V2_0_0, Ruleset::V2_1_0, Ruleset::V3_0_0, Ruleset::V4_0_0] {
            assert_eq!(kept(ruleset), [&small[..], &[49_152.0, 67_840.0]].concat());
        }
    }

    #[test]
    fn fewer_epochs_than_the_mean_scale_and_far_fewer_fail() {
        let table = RcpTable::of(Ruleset::V4_0_0).unwrap();
        let check = |epochs: &[f64]| table.check(&runs(3264.0, epochs)).unwrap();
        let scaled = check(&[35.0; 5]);
        assert!(scaled.passed && close(scaled.scaling, 35.153_846 / 35.0), "{scaled:?}");
        let slow = check(&[36.0, 36.0, 35.0, 36.0, f64::INFINITY]);
        assert!(slow.passed && close(slow.scaling, 1.0) && close(slow.mean_epochs, 36.0));
        let fast = check(&[33.0; 5]);
        assert!(!fast.passed && close(fast.scaling, 1.0), "{fast:?}");
    }

    #[test]
    fn batch_sizes_outside_the_points_are_distinguished() {
        let table = RcpTable::of(Ruleset::V4_0_0).unwrap();
        let below = table.check(&runs(1536.0, &[35.0; 5])).unwrap();
        assert_eq!((below.basis, below.passed), (Basis::Smallest, true));
        assert!(close(below.reference.batch_size, 1632.0));
        let above = table.check(&runs(70_000.0, &[90.0; 5])).unwrap_err();
        assert!(above.to_string().contains("70000 is above 67840"), "{above}");
    }

    #[test]
    fn an_impossible_test_has_a_reason() {
        let table = RcpTable::of(Ruleset::V4_0_0).unwrap();
        let mut differing = runs(3264.0, &[35.0; 5]);
        differing[3].batch_size = Some(3200.0);
        assert_eq!(table.check(&differing), Err(RcpObstacle::BatchSizesDiffer(3264.0, 3200.0)));
        differing[0].batch_size = None;
        assert_eq!(table.check(&differing), Err(RcpObstacle::NoBatchSize));
        assert_eq!(table.check(&[]), Err(RcpObstacle::NoBatchSize));
        let failed = runs(3264.0, &[35.0, f64::INFINITY, 35.0, f64::INFINITY, 35.0]);
        let error = table.check(&failed).unwrap_err();
        assert!(error.to_string().starts_with("insufficient convergence: 3 of 5"), "{error}");
    }
}
