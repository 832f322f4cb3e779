//! Where the time of a run went, as parts that add up to its minutes.

use super::epochs::EpochFigures;
use crate::compliance::RunTiming;

/// A part of a run's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The first epoch, which may read from a cold disk.
    FirstEpoch,
    /// The later epochs: the steps, all-reduce included.
    Training,
    /// Waiting for data in the later epochs.
    DataWait,
    /// Copying batches to the device in the later epochs.
    Copy,
    /// The evaluations.
    Evaluation,
    /// Everything outside epochs and evaluations.
    Gaps,
}

impl Part {
    /// All parts, in the order in which a bar shows them.
    pub(super) const ALL: [Self; 6] = [
        Self::FirstEpoch,
        Self::Training,
        Self::DataWait,
        Self::Copy,
        Self::Evaluation,
        Self::Gaps,
    ];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FirstEpoch => "first epoch",
            Self::Training => "training",
            Self::DataWait => "waiting for data",
            Self::Copy => "copying to the device",
            Self::Evaluation => "evaluation",
            Self::Gaps => "gaps",
        }
    }

    /// The class of its colour.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::FirstEpoch => "first",
            Self::Training => "train",
            Self::DataWait => "wait",
            Self::Copy => "copy",
            Self::Evaluation => "eval",
            Self::Gaps => "gap",
        }
    }
}

/// Minutes of each part of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TimeParts {
    minutes: [f64; Part::ALL.len()],
    /// Whether the waits are known. Otherwise they are in the training.
    pub(super) knows_waits: bool,
}

impl TimeParts {
    /// The parts of `timing`. The waits are those of rank 0, where `epochs` have them.
    pub(super) fn of(timing: &RunTiming, epochs: &[EpochFigures]) -> Self {
        let later = epochs.iter().skip(1).filter_map(|epoch| epoch.time);
        let knows_waits = epochs.iter().any(|epoch| epoch.time.is_some());
        let [wait_s, copy_s] = later.fold([0.0; 2], |[wait, copy], time| {
            [wait + time.data_wait_s(), copy + time.copy_wait_s]
        });
        let later_s = timing.epochs_s - timing.first_epoch_s;
        let gap_s = timing.seconds() - timing.epochs_s - timing.evals_s;
        let train_s = later_s - wait_s - copy_s;
        let seconds = [timing.first_epoch_s, train_s, wait_s, copy_s, timing.evals_s, gap_s];
        Self { minutes: seconds.map(|seconds| seconds.max(0.0) / 60.0), knows_waits }
    }

    /// Minutes of `part`.
    pub(super) fn minutes(&self, part: Part) -> f64 {
        self.minutes[part as usize]
    }

    /// Minutes of all parts.
    pub(super) fn total(&self) -> f64 {
        self.minutes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Spent;

    #[test]
    fn parts_add_up_to_the_run() {
        let timing = RunTiming {
            minutes: 5.0,
            num_epochs: 3,
            first_epoch_s: 90.0,
            epochs_s: 210.0,
            evals_s: 60.0,
            ..RunTiming::default()
        };
        let time = Spent { io_wait_s: 3.0, decode_wait_s: 9.0, copy_wait_s: 6.0, compute_s: 42.0 };
        let epoch = EpochFigures { time: Some(time), ..EpochFigures::default() };
        let parts = TimeParts::of(&timing, &[epoch.clone(), epoch.clone(), epoch]);
        let minutes = Part::ALL.map(|part| parts.minutes(part));
        let expected = [1.5, 1.4, 0.4, 0.2, 1.0, 0.5];
        for (found, expected) in minutes.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{minutes:?}");
        }
        assert!((parts.total() - 5.0).abs() < 1e-9 && parts.knows_waits);
    }

    #[test]
    fn a_foreign_log_has_no_waits_and_no_negative_gaps() {
        let timing =
            RunTiming { minutes: 1.0, epochs_s: 70.0, first_epoch_s: 20.0, ..RunTiming::default() };
        let parts = TimeParts::of(&timing, &[EpochFigures::default()]);
        assert!(!parts.knows_waits);
        assert!(parts.minutes(Part::Gaps).abs() < 1e-9, "{parts:?}");
    }
}
