//! How far a run has come, and how long it may still take.

use std::time::Duration;

/// The length of a run, its target and its accuracies so far.
#[derive(Clone, Debug)]
pub(super) struct Course {
    num_epochs: usize,
    steps_per_epoch: usize,
    batch_size: usize,
    target: f64,
    /// Epoch and accuracy of each evaluation.
    evaluations: Vec<(usize, f64)>,
}

impl Course {
    /// A run of so many epochs and steps per epoch, at its start.
    pub(super) fn new(
        [num_epochs, steps_per_epoch]: [usize; 2],
        batch_size: usize,
        target: f64,
    ) -> Self {
        Self { num_epochs, steps_per_epoch, batch_size, target, evaluations: Vec::new() }
    }

    /// The most epochs that it trains.
    pub(super) fn num_epochs(&self) -> usize {
        self.num_epochs
    }

    /// Adds the accuracy after an epoch.
    pub(super) fn evaluated(&mut self, epoch: usize, accuracy: f64) {
        self.evaluations.push((epoch, accuracy));
    }

    /// The last accuracy.
    pub(super) fn accuracy(&self) -> Option<f64> {
        self.evaluations.last().map(|(_, accuracy)| *accuracy)
    }

    /// Time to the end of the last epoch at this speed, without evaluations.
    pub(super) fn to_the_end(
        &self,
        epoch: usize,
        step: usize,
        images_per_s: f64,
    ) -> Option<Duration> {
        self.time_to(self.num_epochs as f64, epoch, step, images_per_s)
    }

    /// Time to the target, if the accuracy goes on rising as between the last two evaluations; `None` if
    /// it does not rise, or would reach the target only after the last epoch.
    pub(super) fn to_target(
        &self,
        epoch: usize,
        step: usize,
        images_per_s: f64,
    ) -> Option<Duration> {
        let [.., (early, low), (late, high)] = self.evaluations[..] else { return None };
        let rise = (high - low) / (late as f64 - early as f64);
        let reached = late as f64 + (self.target - high) / rise;
        let is_ahead = rise > 0.0 && reached <= self.num_epochs as f64;
        is_ahead.then(|| self.time_to(reached, epoch, step, images_per_s)).flatten()
    }

    /// Time until `goal` epochs are over.
    fn time_to(&self, goal: f64, epoch: usize, step: usize, images_per_s: f64) -> Option<Duration> {
        let done = epoch.saturating_sub(1) * self.steps_per_epoch + step;
        let left = goal * self.steps_per_epoch as f64 - done as f64;
        let seconds = left * self.batch_size as f64 / images_per_s;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(evaluations: &[(usize, f64)]) -> Course {
        let mut course = Course::new([10, 50], 100, 0.76);
        for (epoch, accuracy) in evaluations {
            course.evaluated(*epoch, *accuracy);
        }
        course
    }

    #[test]
    fn the_end_follows_from_the_steps_left_and_the_speed() {
        let course = course(&[]);
        assert_eq!(course.to_the_end(2, 50, 1000.0), Some(Duration::from_secs(40)));
        assert_eq!(course.to_the_end(10, 50, 1000.0), Some(Duration::ZERO));
        assert_eq!(course.to_the_end(1, 0, 0.0), None);
        assert_eq!(course.to_the_end(11, 50, 1000.0), None);
    }

    #[test]
    fn the_target_is_forecast_by_the_last_rise() {
        let rising = course(&[(1, 0.1), (2, 0.56), (4, 0.66)]);
        let seconds = rising.to_target(4, 50, 1000.0).unwrap().as_secs_f64();
        assert!((seconds - 10.0).abs() < 1e-6, "two more epochs: {seconds}");
    }

    #[test]
    fn no_target_is_forecast_without_a_rise_that_reaches_it() {
        for evaluations in [
            [].as_slice(),
            &[(4, 0.7)],
            &[(2, 0.7), (4, 0.7)],
            &[(2, 0.7), (4, 0.6)],
            &[(2, 0.10), (4, 0.11)],
        ] {
            assert_eq!(course(evaluations).to_target(4, 50, 1000.0), None, "{evaluations:?}");
        }
    }
}
