//! Published results for comparison with a score.

use serde::Deserialize;

/// The fastest results of `ResNet`, and results of other benchmarks.
const LEADERS: [&str; 2] = [include_str!("leaders.toml"), include_str!("published.toml")];

/// One published result.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leader {
    /// The benchmark, by the name of its folder.
    pub benchmark: String,
    /// The round, such as `v4.0`.
    pub round: String,
    /// The submitter.
    pub submitter: String,
    /// The system, by the name of its folder.
    pub system: String,
    /// `open` or `closed`.
    pub division: String,
    /// Accelerators of all machines.
    pub num_accelerators: u32,
    /// The accelerator's model.
    pub accelerator: String,
    /// Olympic mean of the minutes.
    pub olympic_minutes: f64,
    /// The published score, scaled by the convergence test if there was one.
    pub scaled_minutes: f64,
}

#[derive(Deserialize)]
struct LeadersFile {
    leader: Vec<Leader>,
}

/// Published results of `benchmark`, open division first, the fastest first.
pub fn leaders(benchmark: &str) -> Vec<Leader> {
    let files = LEADERS.iter().map(|text| -> LeadersFile {
        toml::from_str(text).expect("a test reads the built-in leaders")
    });
    files.flat_map(|file| file.leader).filter(|leader| leader.benchmark == benchmark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_are_in_order_and_scaling_never_shortens() {
        for (benchmark, num) in [("resnet", 10), ("llama2_70b_lora", 5), ("no_such_benchmark", 0)] {
            let leaders = leaders(benchmark);
            assert!(leaders.len() >= num, "{benchmark}");
            assert!(leaders.iter().all(|leader| leader.scaled_minutes >= leader.olympic_minutes));
            let rank = |leader: &Leader| (leader.division == "closed", leader.scaled_minutes);
            assert!(leaders.is_sorted_by(|a, b| rank(a) <= rank(b)), "{benchmark}");
        }
    }
}
