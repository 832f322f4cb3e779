//! How long a run took to its target, as the reference's convergence test reads it from the log.

use super::check::Joined;
use super::parse::Record;
use super::rules::{Catalogue, Join};
use super::ruleset::Ruleset;
use super::value::Value;
use crate::mllog::Key;

/// Benchmarks whose convergence is counted in samples.
const BY_SAMPLES: [&str; 8] = [
    "deepseekv3_671b",
    "dlrmv4",
    "flux1",
    "gpt_oss_20b",
    "llama2_70b_lora",
    "llama31_405b",
    "llama31_8b",
    "qwen35_397b_grpo",
];

/// The unit of convergence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvergenceUnit {
    /// `epoch_num`.
    Epochs,
    /// `samples_count`.
    Samples,
    /// `step_num`.
    Steps,
}

impl ConvergenceUnit {
    /// The unit in the logs of `benchmark`.
    pub fn of(benchmark: &str, ruleset: Ruleset) -> Self {
        match benchmark {
            "stable_diffusion" if ruleset <= Ruleset::V3_1_0 => Self::Steps,
            "stable_diffusion" => Self::Samples,
            _ if BY_SAMPLES.contains(&benchmark) => Self::Samples,
            _ => Self::Epochs,
        }
    }

    /// The name in outputs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Epochs => "epochs",
            Self::Samples => "samples",
            Self::Steps => "steps",
        }
    }
}

/// How long a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convergence {
    /// The unit.
    pub unit: ConvergenceUnit,
    /// Position of the last evaluation before `run_stop`; with joined metrics, of the first one that
    /// reached the target.
    pub at: Option<f64>,
    /// Line of an evaluation without a position, or of a `run_stop` without a status or without an
    /// evaluation before it. The reference's convergence test ends in a traceback there.
    pub untestable: Option<usize>,
}

/// Collects positions while the log is read.
pub(super) struct Positions {
    join: Join,
    joined: Joined,
    epochs: Last,
    samples: Last,
    /// Line of an evaluation that cannot be joined.
    unjoined: Option<usize>,
    /// Line of the first `run_stop`.
    stopped: Option<usize>,
    /// Line of a `run_stop` without a status.
    no_status: Option<usize>,
}

/// The last position in one unit.
#[derive(Default)]
struct Last {
    at: Option<f64>,
    lacking: Option<usize>,
}

impl Last {
    fn see(&mut self, at: Option<f64>, line: usize) {
        if at.is_none() {
            self.lacking = self.lacking.or(Some(line));
        }
        self.at = at.or(self.at);
    }
}

impl Positions {
    pub(super) fn new(ruleset: Ruleset) -> Self {
        let unit = ConvergenceUnit::of("stable_diffusion", ruleset);
        let by = if unit == ConvergenceUnit::Steps { "step_num" } else { "samples_count" };
        Self {
            join: Join { key: Key::EvalAccuracy.as_str().into(), by: by.into() },
            joined: Joined::default(),
            epochs: Last::default(),
            samples: Last::default(),
            unjoined: None,
            stopped: None,
            no_status: None,
        }
    }

    /// Processes the next record.
    pub(super) fn read(&mut self, key: Key, record: &Record) {
        match key {
            Key::EvalAccuracy => self.evaluation(record),
            Key::RunStop => {
                self.stopped = self.stopped.or(Some(record.line));
                if record.metadata.get("status").is_none() {
                    self.no_status = self.no_status.or(Some(record.line));
                }
            }
            _ => {}
        }
    }

    fn evaluation(&mut self, record: &Record) {
        let metadata = &record.metadata;
        let number = |name: &str| metadata.get(name).and_then(Value::as_f64);
        let lacks_metric = metadata.contains("metric") != Some(true);
        if lacks_metric || number(&self.join.by).is_none() {
            self.unjoined = self.unjoined.or(Some(record.line));
        }
        // After run_stop, the reference only requires that there is a position.
        let is_running = self.stopped.is_none();
        for (last, name) in [(&mut self.epochs, "epoch_num"), (&mut self.samples, "samples_count")]
        {
            let before = last.at;
            last.see(number(name), record.line);
            if !is_running {
                last.at = before;
            }
        }
        if is_running && !lacks_metric && self.joined.add(&self.join, record).is_err() {
            self.unjoined = self.unjoined.or(Some(record.line));
        }
    }

    /// The convergence of a run of `benchmark`, which claims success or does not.
    pub(super) fn finish(
        self,
        benchmark: &str,
        ruleset: Ruleset,
        status: Option<&str>,
    ) -> Convergence {
        let unit = ConvergenceUnit::of(benchmark, ruleset);
        let (at, lacking) = match Catalogue::of(ruleset).joined_target(benchmark) {
            Some(target) => (self.joined.first_reaching(target, &self.join.by), self.unjoined),
            None if unit == ConvergenceUnit::Samples => (self.samples.at, self.samples.lacking),
            None => (self.epochs.at, self.epochs.lacking),
        };
        // The reference looks for the length of every run that claims success.
        let is_claimed = status == Some("success") && at.is_none();
        let unknown = self.stopped.filter(|_| is_claimed);
        let untestable = [lacking, unknown, self.no_status].into_iter().flatten().min();
        Convergence { unit, at, untestable }
    }
}
