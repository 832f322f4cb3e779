//! The rules of a ruleset, indexed by key.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{LazyLock, OnceLock},
};

use super::text::{RulesText, Section};
use super::{Check, Rule, Ruleset, Selects, TargetPart, Value};
use crate::mlperf::Division;

/// One table of rules. A log selects them one after the other by naming its division, benchmark and
/// optimizer. Each one goes through the whole log with its own state.
#[derive(Debug)]
pub(crate) struct RuleFile {
    /// `None` for the rules of every benchmark.
    pub(in super::super) benchmark: Option<&'static str>,
    /// `None` for the rules of both divisions.
    pub(in super::super) division: Option<Division>,
    /// The value of `opt_name` that selects these rules.
    pub(in super::super) optimizer: Option<&'static str>,
    pub(in super::super) rules: Vec<Rule>,
}

/// All rules of a ruleset.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(in super::super) files: Vec<RuleFile>,
    /// Which rules concern a key: indices of the file and of the rule.
    places: HashMap<String, Vec<(usize, usize)>>,
    /// By name.
    benchmarks: Vec<&'static str>,
}

/// Rules for every benchmark.
static ANY_BENCHMARK: LazyLock<RulesText> =
    LazyLock::new(|| read("any_benchmark", include_str!("any_benchmark.toml")));

/// The rule file of a benchmark.
struct Benchmark {
    name: &'static str,
    /// The first and the last ruleset with rules for it. No other ruleset has to read the file.
    span: RangeInclusive<Ruleset>,
    text: LazyLock<RulesText>,
}

/// Lists the benchmarks with their files.
macro_rules! benchmarks {
    ($($name:literal $since:ident $until:ident,)*) => {
        static BENCHMARKS: [Benchmark; [$($name),*].len()] = [
            $(Benchmark {
                name: $name,
                span: Ruleset::$since..=Ruleset::$until,
                text: LazyLock::new(|| read($name, include_str!(concat!($name, ".toml")))),
            },)*
        ];
    };
}

benchmarks! {
    "bert" V0_7_0 V5_1_0,
    "deepseekv3_671b" V6_0_0 V6_1_0,
    "dlrm" V0_7_0 V3_1_0,
    "dlrm_dcnv2" V3_0_0 V6_0_0,
    "dlrmv4" V6_1_0 V6_1_0,
    "flux1" V5_1_0 V6_1_0,
    "gnmt" V0_7_0 V0_7_0,
    "gnn" V4_0_0 V4_1_0,
    "gpt3" V3_0_0 V4_1_0,
    "gpt_oss_20b" V6_0_0 V6_1_0,
    "llama2_70b_lora" V4_0_0 V6_1_0,
    "llama31_405b" V5_0_0 V6_0_0,
    "llama31_8b" V5_1_0 V6_1_0,
    "maskrcnn" V0_7_0 V3_1_0,
    "minigo" V0_7_0 V3_1_0,
    "qwen35_397b_grpo" V6_1_0 V6_1_0,
    "resnet" V0_7_0 V4_0_0,
    "retinanet" V5_0_0 V5_1_0,
    "rgat" V5_0_0 V5_1_0,
    "rnnt" V1_0_0 V3_1_0,
    "ssd" V0_7_0 V4_1_0,
    "stable_diffusion" V3_1_0 V5_0_0,
    "transformer" V0_7_0 V0_7_0,
    "unet3d" V1_0_0 V4_0_0,
}

/// One of our own files, whose form the tests check.
fn read(name: &str, text: &str) -> RulesText {
    toml::from_str(text).unwrap_or_else(|error| panic!("{name}.toml: {error}"))
}

impl Catalogue {
    /// The rules of `ruleset`. The first call for a ruleset reads them.
    pub(crate) fn of(ruleset: Ruleset) -> &'static Self {
        static CATALOGUES: [OnceLock<Catalogue>; Ruleset::ALL.len()] =
            [const { OnceLock::new() }; Ruleset::ALL.len()];
        CATALOGUES[ruleset as usize].get_or_init(|| Self::read(ruleset))
    }

    fn read(ruleset: Ruleset) -> Self {
        let mut files = Vec::new();
        let mut known = [Vec::new(), Vec::new()];
        let in_span = |benchmark: &&Benchmark| benchmark.span.contains(&ruleset);
        for Benchmark { name, text, .. } in BENCHMARKS.iter().filter(in_span) {
            let optimizers = text.optimizer.iter().map(|(optimizer, section)| {
                (Division::Closed, Some(optimizer.as_str()), Some(section))
            });
            let divisions = [
                (Division::Closed, None, text.closed.as_ref()),
                (Division::Open, None, text.open.as_ref()),
            ];
            for (division, optimizer, section) in divisions.into_iter().chain(optimizers) {
                let Some(section) = section else { continue };
                if section.covers(ruleset) {
                    known[division as usize].push(*name);
                } else if !section.is_unlisted(ruleset) {
                    continue;
                }
                files.push(RuleFile {
                    benchmark: Some(name),
                    division: Some(division),
                    optimizer,
                    rules: section.rules(ruleset),
                });
            }
        }
        let any = &*ANY_BENCHMARK;
        let rules = |section: &Option<Section>| {
            section.as_ref().map_or(Vec::new(), |section| section.rules(ruleset))
        };
        let everywhere = (None, rules(&any.any));
        let closed = (Some(Division::Closed), rules(&any.closed));
        let open = (Some(Division::Open), rules(&any.open));
        for (division, mut rules) in [everywhere, closed, open] {
            if let Some(division) = division {
                rules.push(benchmark_rule(&known[division as usize]));
            }
            files.push(RuleFile { benchmark: None, division, optimizer: None, rules });
        }
        let mut places: HashMap<String, Vec<_>> = HashMap::new();
        for (file_index, file) in files.iter().enumerate() {
            for (index, rule) in file.rules.iter().enumerate() {
                let keys = rule.join.iter().map(|join| &join.key).chain([&rule.key]);
                for key in keys {
                    places.entry(key.clone()).or_default().push((file_index, index));
                }
            }
        }
        let mut benchmarks = known.concat();
        benchmarks.sort_unstable();
        benchmarks.dedup();
        Self { files, places, benchmarks }
    }

    /// The rules that concern `key`: indices of the file and of the rule in it.
    pub(in super::super) fn places(&self, key: &str) -> &[(usize, usize)] {
        self.places.get(key).map_or(&[], Vec::as_slice)
    }

    /// The index of the file with these rules.
    pub(in super::super) fn find(
        &self,
        benchmark: Option<&str>,
        division: Option<Division>,
        optimizer: Option<&str>,
    ) -> Option<usize> {
        self.files.iter().position(|file| {
            file.benchmark == benchmark && file.division == division && file.optimizer == optimizer
        })
    }

    /// The target of the closed division, on one metric that is the value of `eval_accuracy`.
    pub(in super::super) fn target(&self, benchmark: &str) -> Option<&[TargetPart]> {
        let rules = self.closed(benchmark)?;
        let rule = rules.iter().find(|rule| rule.key == "eval_accuracy")?;
        let is_plain = matches!(&rule.target[..], [part] if part.member.is_none());
        is_plain.then_some(&rule.target)
    }

    /// The target of the closed division on metrics that are joined from several records.
    pub(in super::super) fn joined_target(&self, benchmark: &str) -> Option<&[TargetPart]> {
        let rule = self.closed(benchmark)?.iter().find(|rule| rule.join.is_some())?;
        Some(&rule.target)
    }

    fn closed(&self, benchmark: &str) -> Option<&[Rule]> {
        let file = self.find(Some(benchmark), Some(Division::Closed), None)?;
        Some(&self.files[file].rules)
    }
}

/// The benchmarks that `ruleset` has, by name.
pub fn benchmarks(ruleset: Ruleset) -> &'static [&'static str] {
    &Catalogue::of(ruleset).benchmarks
}

/// The newest ruleset that has `benchmark`; `None` if none has it.
pub fn latest_ruleset(benchmark: &str) -> Option<Ruleset> {
    let Benchmark { text, .. } = BENCHMARKS.iter().find(|known| known.name == benchmark)?;
    let sections = [&text.closed, &text.open];
    let has = |ruleset: &Ruleset| sections.into_iter().flatten().any(|it| it.covers(*ruleset));
    Ruleset::ALL.into_iter().rev().find(has)
}

/// `submission_benchmark` is one of the benchmarks that the division has.
fn benchmark_rule(known: &[&str]) -> Rule {
    Rule {
        key: "submission_benchmark".into(),
        need: super::Need::ExactlyOne,
        checks: vec![Check::OneOf(known.iter().map(|name| Value::Text((*name).into())).collect())],
        first: None,
        target: Vec::new(),
        remember: Vec::new(),
        is_remembered: false,
        selects: Some(Selects::Benchmark),
        tensors: Vec::new(),
        join: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ruleset_has_its_benchmarks() {
        assert_eq!(
            benchmarks(Ruleset::V6_1_0),
            [
                "deepseekv3_671b",
                "dlrmv4",
                "flux1",
                "gpt_oss_20b",
                "llama2_70b_lora",
                "llama31_8b",
                "qwen35_397b_grpo"
            ]
        );
        assert!(benchmarks(Ruleset::V4_0_0).contains(&"resnet"));
        assert!(!benchmarks(Ruleset::V4_1_0).contains(&"resnet"));
        for Benchmark { name, span, text } in &BENCHMARKS {
            let latest = latest_ruleset(name).unwrap();
            assert!(benchmarks(latest).contains(name), "{latest} has no {name}");
            let sections = [&text.closed, &text.open];
            for ruleset in Ruleset::ALL {
                let has = |it: &Section| it.covers(ruleset) || it.is_unlisted(ruleset);
                let has_rules = sections.into_iter().flatten().any(has);
                assert_eq!(span.contains(&ruleset), has_rules, "{name} {ruleset}");
            }
        }
        assert_eq!(latest_ruleset("resnet"), Some(Ruleset::LAST_WITH_RESNET));
        assert_eq!(latest_ruleset("no_such_benchmark"), None);
    }
}
