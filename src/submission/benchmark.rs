//! The benchmarks of the rounds and how many runs each one needs (training rules, section
//! "Benchmark results"; `benchmark_meta` of `mlperf_logging`).

use crate::compliance::Ruleset;

/// Result files of a `ResNet` submission, in every round.
pub const NUM_RUNS: usize = 5;

/// Result files of a submission, by benchmark.
const RESULT_FILES: [(&str, usize); 25] = [
    ("bert", 10),
    ("deepseekv3_671b", 3),
    ("dlrm", 5),
    ("dlrm_dcnv2", 10),
    ("dlrmv4", 10),
    ("flux1", 10),
    ("gnmt", 10),
    ("gnn", 10),
    ("gpt3", 3),
    ("gpt_oss_20b", 10),
    ("llama2_70b_lora", 10),
    ("llama31_405b", 3),
    ("llama31_8b", 10),
    ("maskrcnn", 5),
    ("minigo", 10),
    ("ncf", 10),
    ("qwen35_397b_grpo", 3),
    ("resnet", NUM_RUNS),
    ("retinanet", 5),
    ("rgat", 10),
    ("rnnt", 10),
    ("ssd", 5),
    ("stable_diffusion", 10),
    ("transformer", 10),
    ("unet3d", 40),
];

/// Folders that early rounds or other tools use for a benchmark.
const OTHER_NAMES: [&str; 3] = ["mask", "translation", "single_stage_detector"];

/// Result files that a submission of `benchmark` must have.
pub fn num_runs(benchmark: &str) -> usize {
    let known = RESULT_FILES.iter().find(|(name, _)| *name == benchmark);
    known.map_or(NUM_RUNS, |(_, num)| *num)
}

/// Runs that may fail, and runs that the olympic mean drops at each end.
pub fn num_dropped(benchmark: &str) -> usize {
    if benchmark == "unet3d" { 4 } else { 1 }
}

/// Whether a folder of this name holds results of a benchmark.
pub(super) fn is_benchmark(name: &str) -> bool {
    RESULT_FILES.iter().any(|(known, _)| *known == name) || OTHER_NAMES.contains(&name)
}

/// The benchmarks of each round, in the order of the summarizer's columns, since the ruleset.
const ROUNDS: [(Ruleset, &str); 10] = [
    (Ruleset::V0_7_0, "bert dlrm gnmt maskrcnn minigo resnet ssd transformer"),
    (Ruleset::V1_0_0, "bert dlrm maskrcnn minigo resnet ssd rnnt unet3d"),
    (Ruleset::V3_0_0, "bert dlrm_dcnv2 gpt3 maskrcnn resnet ssd rnnt unet3d"),
    (Ruleset::V3_1_0, "bert dlrm_dcnv2 gpt3 maskrcnn resnet ssd rnnt unet3d stable_diffusion"),
    (
        Ruleset::V4_0_0,
        "bert dlrm_dcnv2 gpt3 resnet ssd unet3d stable_diffusion llama2_70b_lora gnn",
    ),
    (Ruleset::V4_1_0, "bert dlrm_dcnv2 gpt3 ssd stable_diffusion llama2_70b_lora gnn"),
    (
        Ruleset::V5_0_0,
        "bert dlrm_dcnv2 retinanet stable_diffusion llama2_70b_lora rgat llama31_405b",
    ),
    (Ruleset::V5_1_0, "llama31_8b dlrm_dcnv2 retinanet flux1 llama2_70b_lora rgat llama31_405b"),
    (
        Ruleset::V6_0_0,
        "llama31_8b dlrm_dcnv2 flux1 llama2_70b_lora llama31_405b gpt_oss_20b deepseekv3_671b",
    ),
    (
        Ruleset::V6_1_0,
        "llama31_8b flux1 llama2_70b_lora gpt_oss_20b deepseekv3_671b qwen35_397b_grpo dlrmv4",
    ),
];

/// The benchmarks of a round, in the order of the summarizer's columns.
pub(super) fn of_round(ruleset: Ruleset) -> Vec<&'static str> {
    let mut rounds = ROUNDS.iter().rev();
    let round = rounds.find(|(since, _)| *since <= ruleset);
    round.map_or(Vec::new(), |(_, names)| names.split(' ').collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compliance::benchmarks;

    #[test]
    fn every_benchmark_of_a_round_has_rules_and_a_number_of_runs() {
        for ruleset in Ruleset::ALL {
            let rules = benchmarks(ruleset);
            for name in of_round(ruleset) {
                assert!(RESULT_FILES.iter().any(|(known, _)| *known == name), "{name}");
                assert!(rules.contains(&name), "{ruleset} has no rules for {name}");
            }
        }
    }
}
