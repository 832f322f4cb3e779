//! The result in one sentence.

use super::{Comparison, run::RunFigures, system::SystemFigures};
use crate::console::{counted, percent};

/// What the minutes of a system are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinutesKind {
    /// The mean without the fastest and the slowest run.
    OlympicMean,
    /// The mean of the runs that reached the target.
    Mean,
    /// Those of the only run that reached it.
    OneRun,
}

impl MinutesKind {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OlympicMean => "olympic mean",
            Self::Mean => "mean",
            Self::OneRun => "one run",
        }
    }
}

/// The result of a system that reached its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Headline {
    /// Minutes to the target.
    pub minutes: f64,
    /// What they are.
    pub kind: MinutesKind,
    /// Mean of the last accuracies of the runs that reached the target.
    pub accuracy: f64,
    /// Runs that reached the target.
    pub num_succeeded: usize,
}

impl Headline {
    /// The result of `system`; `None` if no run reached the target.
    pub(super) fn of(system: &SystemFigures) -> Option<Self> {
        let succeeded = || system.runs.iter().filter(|run| run.succeeded());
        let mean = |values: Vec<f64>| {
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let num_succeeded = succeeded().count();
        let olympic = system.score.as_ref().and_then(|score| score.olympic_minutes);
        let kind = match (olympic, num_succeeded) {
            (Some(_), _) => MinutesKind::OlympicMean,
            (None, 1) => MinutesKind::OneRun,
            (None, _) => MinutesKind::Mean,
        };
        let all = mean(succeeded().filter_map(RunFigures::minutes).collect());
        Some(Self {
            minutes: olympic.or(all)?,
            kind,
            accuracy: mean(succeeded().filter_map(RunFigures::accuracy).collect())?,
            num_succeeded,
        })
    }
}

/// The title of the page of `comparison`.
pub(super) fn title(comparison: &Comparison) -> String {
    let runs = counted(comparison.num_runs(), "run");
    let mut results: Vec<_> = comparison
        .systems
        .iter()
        .filter_map(|system| Some((Headline::of(system)?, system)))
        .collect();
    results.sort_by(|(a, _), (b, _)| a.minutes.total_cmp(&b.minutes));
    match results[..] {
        [] => unfinished(comparison, &runs),
        [(result, _)] if comparison.systems.len() == 1 => {
            format!("{} after {:.2} min, {runs}", percent(result.accuracy, 2), result.minutes)
        }
        [(result, fastest), ..] => format!(
            "{:.2} min to {}: {}, the fastest of {}",
            result.minutes,
            percent(fastest.target(), 2),
            fastest.label,
            counted(comparison.systems.len(), "system")
        ),
    }
}

/// The title without a run that reached the target.
fn unfinished(comparison: &Comparison, runs: &str) -> String {
    let all = || comparison.systems.iter().flat_map(|system| &system.runs);
    let target = percent(comparison.systems[0].target(), 2);
    let best = all().filter_map(RunFigures::accuracy).max_by(f64::total_cmp);
    let ended = all().any(|run| run.minutes().is_some());
    match best {
        Some(best) if ended => {
            format!("Target of {target} not reached: at best {}, {runs}", percent(best, 2))
        }
        Some(best) => format!("No result: {} when the run ended, {runs}", percent(best, 2)),
        None => format!("No result: no accuracy was measured, {runs}"),
    }
}
