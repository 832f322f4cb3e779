//! Every benchmark of every ruleset against `mlperf_logging`'s checker: sound logs, and mutants of
//! them and of published logs.
//!
//! `tests/logs/benchmarks.json` has the hyperparameters and evaluations of a sound log for each
//! benchmark and division, with the rulesets under which it is sound.

use std::{collections::BTreeMap, fs, path::PathBuf};

use mlperf_run::compliance::{Ruleset, benchmarks, check_bytes};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::check::{own_logs, say};
use crate::mutants::{Mutants, seed_and_count};
use crate::oracle::judged_alike;
use crate::rounds::{rounds, ruleset};

/// Mutants of each log, over all of its rulesets; more of them if `MLPERF_RUN_ORACLE` asks for more in all.
const NUM_MUTANTS: usize = 20;

#[derive(Deserialize)]
struct SoundLog {
    benchmark: String,
    division: String,
    rulesets: Vec<String>,
    keys: Map<String, Value>,
    evaluations: Vec<Evaluation>,
    #[serde(default)]
    metadata: BTreeMap<String, Value>,
    #[serde(default)]
    tensors: Vec<String>,
    /// The accuracy is logged as a loss too.
    #[serde(default)]
    loss: bool,
}

#[derive(Deserialize)]
struct Evaluation {
    value: Value,
    metadata: Map<String, Value>,
}

fn sound_logs() -> Vec<SoundLog> {
    let text = fs::read_to_string(own_logs().join("benchmarks.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The lines of a log; a second passes from one to the next.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn put(&mut self, key: &str, value: &Value, metadata: &Value) {
        let time_ms = 1_700_000_000_000 + 1000 * self.0.len();
        let mut members = json!({ "file": "train.py", "lineno": 7 });
        let members = members.as_object_mut().unwrap();
        members.extend(metadata.as_object().cloned().unwrap_or_default());
        let members: Vec<_> =
            members.iter().map(|(name, member)| format!("\"{name}\": {member}")).collect();
        let members = members.join(", ");
        self.0.push(format!(
            ":::MLLOG {{\"namespace\": \"\", \"time_ms\": {time_ms}, \"event_type\": \
             \"POINT_IN_TIME\", \"key\": \"{key}\", \"value\": {value}, \"metadata\": {{{members}}}}}"
        ));
    }
}

impl SoundLog {
    fn text(&self) -> String {
        let mut lines = Lines::default();
        let mut put = |key: &str, value: Value, metadata: Value| lines.put(key, &value, &metadata);
        put("submission_benchmark", json!(self.benchmark), Value::Null);
        put("submission_division", json!(self.division), Value::Null);
        for (key, value) in [
            ("submission_org", json!("Somebody")),
            ("submission_platform", json!("box")),
            ("submission_status", json!("onprem")),
            ("cache_clear", json!(true)),
            ("init_start", Value::Null),
            ("lowest_numerical_precision_in_linear", json!("fp8")),
            ("lowest_numerical_precision_in_attn", json!("fp8")),
            ("lowest_numerical_precision_in_comm", json!("fp8")),
            ("tensor_parallelism", json!(1)),
            ("pipeline_parallelism", json!(1)),
            ("context_parallelism", json!(1)),
            ("expert_parallelism", json!(1)),
            ("micro_batch_size", json!(1)),
            ("config_filename", json!("config.sh")),
            ("seed", json!(7)),
        ] {
            put(key, value, Value::Null);
        }
        for key in ["train_samples", "eval_samples", "gradient_accumulation_steps"] {
            if !self.keys.contains_key(key) {
                put(key, json!(1), Value::Null);
            }
        }
        for (key, value) in &self.keys {
            put(key, value.clone(), self.metadata.get(key).cloned().unwrap_or_default());
        }
        for tensor in &self.tensors {
            put("weights_initialization", Value::Null, json!({ "tensor": tensor }));
        }
        put("init_stop", Value::Null, Value::Null);
        put("run_start", Value::Null, Value::Null);
        for Evaluation { value, metadata } in &self.evaluations {
            let mut at = metadata.clone();
            at.remove("metric");
            let mut block = at.clone();
            block.insert("first_epoch_num".into(), at["epoch_num"].clone());
            block.insert("epoch_count".into(), json!(1));
            put("block_start", Value::Null, block.clone().into());
            for key in ["epoch_start", "epoch_stop", "eval_start", "eval_stop"] {
                put(key, Value::Null, at.clone().into());
            }
            put("eval_accuracy", value.clone(), metadata.clone().into());
            if self.loss {
                put("averaged_validation_loss", value.clone(), metadata.clone().into());
            }
            put("block_stop", Value::Null, block.into());
        }
        put("run_stop", Value::Null, json!({ "status": "success" }));
        lines.0.join("\n") + "\n"
    }
}

#[test]
fn every_benchmark_has_a_sound_log_that_is_accepted() {
    let logs = sound_logs();
    for log in &logs {
        for named in &log.rulesets {
            let report = check_bytes(log.text().as_bytes(), ruleset(named));
            let SoundLog { benchmark, division, .. } = log;
            assert!(
                report.reference_accepts(),
                "{named} {division} {benchmark}: {:#?}",
                report.findings
            );
        }
    }
    for ruleset in Ruleset::ALL {
        for benchmark in benchmarks(ruleset).iter().filter(|name| **name != "resnet") {
            let has = |log: &SoundLog| {
                log.benchmark == *benchmark && log.rulesets.iter().any(|it| it == ruleset.as_str())
            };
            assert!(logs.iter().any(has), "{ruleset} {benchmark} has no sound log");
        }
    }
}

#[test]
fn a_benchmark_that_the_round_does_not_have_is_rejected() {
    let log = sound_logs().into_iter().find(|log| log.benchmark == "llama31_8b").unwrap();
    let report = check_bytes(log.text().as_bytes(), Ruleset::V4_1_0);
    assert!(!report.reference_accepts() && report.reference_crashes);
    assert_eq!(report.benchmark.as_deref(), Some("llama31_8b"));
}

/// A log whose mutants are checked under some rulesets.
struct Original {
    rulesets: Vec<Ruleset>,
    text: String,
}

/// Sound logs, and one published log of each benchmark and ruleset.
fn originals() -> Vec<Original> {
    let sound = sound_logs().into_iter().map(|log| Original {
        rulesets: log.rulesets.iter().map(|named| ruleset(named)).collect(),
        text: log.text(),
    });
    let mut originals: Vec<_> = sound.collect();
    let Some((folder, verdicts)) = rounds() else { return originals };
    let mut published: BTreeMap<(&str, &str), PathBuf> = BTreeMap::new();
    for (name, rulesets) in verdicts["files"].as_object().unwrap() {
        let benchmark = name.split('/').nth(4).unwrap();
        for named in rulesets.as_object().unwrap().keys() {
            published.insert((named, benchmark), folder.join(name));
        }
    }
    originals.extend(published.into_iter().map(|((named, _), path)| Original {
        rulesets: vec![ruleset(named)],
        // Latin-1, as the reference reads it.
        text: fs::read(path).unwrap().into_iter().map(char::from).collect(),
    }));
    originals
}

#[test]
fn mutants_of_every_benchmark_have_the_verdict_of_the_reference() {
    let (seed, count) = seed_and_count();
    let originals = originals();
    let num_mutants = NUM_MUTANTS.max(count / originals.len());
    let mut mutants = Mutants::new(seed);
    let mut logs: BTreeMap<Ruleset, Vec<Vec<u8>>> = BTreeMap::new();
    for Original { rulesets, text } in &originals {
        for index in 0..num_mutants {
            let ruleset = rulesets[index % rulesets.len()];
            logs.entry(ruleset).or_default().push(mutants.of(text));
        }
    }
    let verdicts = logs.iter().flat_map(|(ruleset, logs)| judged_alike(*ruleset, logs));
    let verdicts: Vec<_> = verdicts.collect();
    let (num, num_accepted) = (verdicts.len(), verdicts.iter().filter(|it| **it).count());
    let from = originals.len();
    say(&format!(
        "seed {seed}: {num} mutants of {from} logs judged alike, {num_accepted} accepted"
    ));
    assert!(num_accepted * 20 > num, "{num_accepted} of {num} accepted say little");
}
