//! Curves of published systems, to stand next to runs on `ImageNet`.

use serde::Deserialize;

/// One published system.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedSystem {
    /// A short name for charts.
    pub(super) label: String,
    /// The submitter.
    pub(super) submitter: String,
    /// The round, such as `v4.0`.
    pub(super) round: String,
    /// The name of its folder.
    pub(super) system: String,
    /// Number and model.
    pub(super) accelerators: String,
    /// Runs that the points are the means of.
    pub(super) num_runs: usize,
    /// Epoch, minutes since `run_start`, top-1 accuracy.
    pub(super) points: Vec<[f64; 3]>,
}

#[derive(Deserialize)]
struct PublishedFile {
    system: Vec<PublishedSystem>,
}

/// All published systems with curves.
pub(super) fn published() -> Vec<PublishedSystem> {
    let file: PublishedFile =
        toml::from_str(include_str!("published.toml")).expect("a test reads the built-in curves");
    file.system
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::leaders;

    #[test]
    fn curves_rise_in_time_and_end_at_the_published_minutes() {
        let systems = published();
        assert!(systems.len() >= 4);
        for system in systems {
            let ordered = |a: &[f64; 3], b: &[f64; 3]| a[0] < b[0] && a[1] < b[1];
            assert!(system.points.is_sorted_by(ordered), "{}", system.label);
            let [_, minutes, accuracy] = *system.points.last().unwrap();
            assert!(accuracy > 0.759, "{}", system.label);
            let leaders = leaders("resnet");
            let leader = leaders.iter().find(|leader| leader.system == system.system).unwrap();
            assert!((minutes - leader.olympic_minutes).abs() < 0.3, "{}", system.label);
        }
    }
}
