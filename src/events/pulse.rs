//! Where a rank is. It tells its launcher once a second, so that a rank that hangs is found and named.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

/// What a rank does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Activity {
    /// It lists images and loads libraries.
    Starting,
    /// It waits until all ranks have joined.
    Joining,
    /// It compiles, captures and makes its first steps on synthetic images.
    WarmingUp,
    /// It waits for images.
    Loading,
    /// It makes a step, which ends when all ranks have computed their gradients.
    Stepping,
    /// It evaluates.
    Evaluating,
}

const ALL: [Activity; 6] = [
    Activity::Starting,
    Activity::Joining,
    Activity::WarmingUp,
    Activity::Loading,
    Activity::Stepping,
    Activity::Evaluating,
];

/// A rank's activity and its count of steps and evaluated batches, which a second thread reads.
#[derive(Debug, Default)]
pub struct Pulse {
    activity: AtomicU8,
    num_steps: AtomicUsize,
}

impl Pulse {
    /// The rank begins `activity`.
    pub fn enter(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// The rank has made one more step, or evaluated one more batch.
    pub fn count(&self) {
        self.num_steps.fetch_add(1, Ordering::Relaxed);
    }

    /// The activity and the count.
    pub fn read(&self) -> (Activity, usize) {
        let activity = ALL[usize::from(self.activity.load(Ordering::Relaxed))];
        (activity, self.num_steps.load(Ordering::Relaxed))
    }

    /// Whether the rank trains. It then looks for signals between steps.
    pub fn is_training(&self) -> bool {
        matches!(self.read().0, Activity::Loading | Activity::Stepping | Activity::Evaluating)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_activity_is_read_as_it_was_entered() {
        let pulse = Pulse::default();
        assert_eq!(pulse.read(), (Activity::Starting, 0));
        for (num, activity) in ALL.into_iter().enumerate() {
            assert_eq!(activity as usize, num);
            pulse.enter(activity);
            pulse.count();
            assert_eq!(pulse.read(), (activity, num + 1));
            assert_eq!(pulse.is_training(), num >= 3);
        }
    }
}
