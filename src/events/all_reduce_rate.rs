//! Results of benchmarking the all-reduce: one line of JSON per size.

use serde::{Deserialize, Serialize};

/// How fast ranks sum tensors of one size. Bandwidths are those of nccl-tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllReduceRate {
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// Ranks.
    pub world_size: usize,
    /// Size of the tensor, bytes of fp32.
    pub num_bytes: usize,
    /// Mean time of an all-reduce on rank 0, us.
    pub time_us: f64,
    /// Size by time, GB/s.
    pub algorithm_gb_s: f64,
    /// What each link carries, whatever the number of ranks: `algorithm_gb_s * 2 (n - 1) / n`, GB/s.
    pub bus_gb_s: f64,
}

impl AllReduceRate {
    /// The rate of `world_size` ranks that need `time_us` for `num_bytes`.
    pub fn new(device: String, world_size: usize, num_bytes: usize, time_us: f64) -> Self {
        let algorithm_gb_s = num_bytes as f64 / time_us / 1e3;
        let share = 2.0 * (world_size - 1) as f64 / world_size as f64;
        let bus_gb_s = algorithm_gb_s * share;
        Self { device, world_size, num_bytes, time_us, algorithm_gb_s, bus_gb_s }
    }

    /// One line of JSON, without the line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings are JSON")
    }

    /// Parses a line of [`AllReduceRate::to_line`]; `None` for any other output of a rank.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths_are_those_of_nccl_tests() {
        let rate = AllReduceRate::new("cpu".to_owned(), 8, 100_000_000, 1000.0);
        assert!((rate.algorithm_gb_s - 100.0).abs() < 1e-9);
        assert!((rate.bus_gb_s - 175.0).abs() < 1e-9);
        assert_eq!(AllReduceRate::from_line(&rate.to_line()), Some(rate));
    }
}
