//! The codes of findings. Their names are stable; each has a severity, a meaning and a fix.

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The reference checker rejects the log.
    Error,
    /// The reference checker rejects the log with `--werror`.
    Warning,
    /// The reference checker overlooks it; `--strict` rejects the log. No honest log has one.
    Fault,
    /// Worth a look; never rejects the log.
    Advice,
}

impl Severity {
    /// The name in outputs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Fault => "fault",
            Self::Advice => "advice",
        }
    }
}

/// Generates the enum `Code`, its names and its explanations from one table.
macro_rules! codes {
    ($(#[$doc:meta])* Code; $($name:ident $text:literal $severity:ident $meaning:literal $cure:literal)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: see [`Code::meaning`].")] $name,)*
        }

        impl Code {
            /// Every code, by severity.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name in outputs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// How serious it is.
            pub const fn severity(self) -> $crate::compliance::Severity {
                match self {
                    $(Self::$name => $crate::compliance::Severity::$severity,)*
                }
            }

            /// What it means, in full sentences.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }

            /// How to fix it.
            pub const fn cure(self) -> &'static str {
                match self {
                    $(Self::$name => $cure,)*
                }
            }
        }

        impl std::fmt::Display for Code {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use codes;

codes! {
    /// What is wrong with a log.
    Code;

    NoRecords "no-records" Error
        "The file has no line with the token `:::MLLOG ` (with its space)."
        "check that this is the run's MLPerf log and that the run logged anything"
    BadJson "bad-json" Error
        "The text after the token is not JSON as Python reads it. Either the line was cut off or \
         two processes wrote to the log at once."
        "let one process write the log, one whole line per write"
    BadRecord "bad-record" Error
        "The line is JSON, but not an object with time_ms, key, value and metadata. The reference \
         checker ends in a traceback here."
        "log through mllog, or write all four members"
    MissingKey "missing-key" Error
        "The log lacks a record that every log of this division must have."
        "have the run log it"
    RepeatedKey "repeated-key" Error
        "A record that must occur once occurs with different values, so the valid one is unknown."
        "log it once, from one process"
    BadValue "bad-value" Error
        "The rules do not allow this value."
        "log an allowed value, with the right JSON type"
    BadMetadata "bad-metadata" Error
        "The metadata lacks a member that the rules require, or has a wrong value for it."
        "log the member with the record"
    WrongOrder "wrong-order" Error
        "The rules do not allow the record at this point of the log. The order is init_start, \
         init_stop, run_start, then blocks, epochs and evaluations, then run_stop."
        "log in that order"
    InitTooLong "init-too-long" Error
        "Initialization, from the earliest init_start to init_stop, took longer than the rules \
         allow: 20 min in 0.7.0 and 30 min in 1.0.0 and 1.1.0; since then 30 min in the closed \
         and 240 min in the open division, and submission_division must be logged before \
         init_stop."
        "initialize faster, or start the clock when the limit is reached"
    AccuracyNotANumber "accuracy-not-a-number" Error
        "An eval_accuracy is not a number, or lacks one of its metrics. The reference checker ends in \
         a traceback here."
        "log the accuracy as a JSON number, or as an object with all metrics"
    TargetNotReached "target-not-reached" Error
        "No evaluation reaches the target of the benchmark and division, such as an accuracy of at \
         least 0.759 for ResNet or a loss of at most 3.3 for llama31_8b, both closed."
        "count the run as failed"
    TensorsDiffer "tensors-differ" Error
        "The closed division of rulesets 1.0.0 to 2.1.0 requires the initialization of each tensor of \
         the network to be logged once, under the reference's name (161 tensors for ResNet-50)."
        "log weights_initialization with metadata.tensor for each tensor"

    RepeatedEqualKey "repeated-equal-key" Warning
        "A record that must occur once occurs more often, each time with the same value."
        "log it once, from one process"

    TimeBackwards "time-backwards" Fault
        "Within the timed part of the run, a record is older than the one before it, so the run's \
         time cannot be trusted."
        "log from one process, with a clock that never steps back"
    EvalAfterStop "eval-after-stop" Fault
        "An evaluation is logged after run_stop, so its time does not count."
        "stop the clock after the last evaluation"
    StoppedTwice "stopped-twice" Fault
        "run_stop is logged more than once. The summarizer uses the first one; other readers may \
         use another."
        "log run_stop once"
    EvalEpochsFall "eval-epochs-fall" Fault
        "The epochs of the evaluations do not increase, so the log is not one training run in \
         order."
        "log evaluations in the order in which they happen"
    TimeUnit "time-unit" Fault
        "The times of the log are not milliseconds since 1970, so that its minutes are wrong."
        "log time_ms in milliseconds"
    SecondRun "second-run" Fault
        "A run begins after another one has started. The log mixes two runs, as after a restart."
        "write each run into a log of its own"
    RecordLost "record-lost" Fault
        "A line has two records. The reference checker reads the last one and drops the other."
        "write one record a line, from one process"
    StatusContradicts "status-contradicts" Fault
        "The last evaluation of a closed run reached the target, but the status of run_stop is not \
         success."
        "log status success when the accuracy reaches the target"

    AccuracyNotFinite "accuracy-not-finite" Advice
        "An accuracy is NaN or infinite, as after a training run that diverged."
        "lower the learning rate, or leave the run out"
    Aborted "aborted" Advice
        "run_stop says that the run was aborted. The reference checker does not read the status \
         and counts an aborted open run as a success."
        "leave the run out of an open submission, or disclose it"
    Resumed "resumed" Advice
        "The run was interrupted and went on from a checkpoint. MLPerf's clock does not stop, but the \
         time between is in no rule of the reference checker."
        "leave the run out; `score` and `package` do not take it"
    Pretrained "pretrained" Advice
        "The run began with given weights. MLPerf's runs begin with random ones; the reference checker \
         cannot see the difference."
        "leave the run out; `score` and `package` do not take it"
    OrgDiffers "org-differs" Advice
        "submission_org is not the submitter that systems/SYSTEM.json names. This is common in \
         logs that a reseller made with a vendor's code."
        "log the submitter's name"
    StatusWord "status-word" Advice
        "The status of run_stop is neither success nor aborted, the values that the rules define."
        "log status success or aborted"
    OpenBelowTarget "open-below-target" Advice
        "The run claims success, but its last accuracy misses the closed division's target. The open \
         division allows that if the submission discloses it."
        "report the final quality"
    EpochsFromZero "epochs-from-zero" Advice
        "The log counts epochs from 0; the rules count them from 1."
        "count epochs from 1"
    EpochsUnpaired "epochs-unpaired" Advice
        "The log claims success, but epoch_start and epoch_stop do not occur equally often."
        "log the start and the end of each epoch"
    TrainSamples "train-samples" Advice
        "train_samples is not ImageNet's 1,281,167."
        "train on the whole data set, or disclose it"
    EvalSamples "eval-samples" Advice
        "eval_samples is not ImageNet's 50,000, so the accuracy is not the benchmark's."
        "evaluate the whole validation set"
    EvalStep "eval-step" Advice
        "The closed rules require an evaluation every 4 epochs, the first one after epoch 1 to 4."
        "evaluate every 4 epochs"
    Momentum "momentum" Advice
        "The closed rules fix the momentum of LARS at 0.9 for batch sizes below 32,768."
        "set momentum 0.9"
    CacheNotCleared "cache-not-cleared" Advice
        "cache_clear says that the page cache was not cleared. The rules require clearing it \
         before each run."
        "clear the cache before the run, or reboot"
}

impl Code {
    /// The source of the rule.
    pub const fn source(self) -> &'static str {
        match self {
            Self::NoRecords | Self::BadJson | Self::BadRecord | Self::RecordLost => {
                "mlperf_logging, compliance_checker/mlp_parser: how lines are read"
            }
            Self::MissingKey
            | Self::RepeatedKey
            | Self::RepeatedEqualKey
            | Self::BadMetadata
            | Self::WrongOrder
            | Self::InitTooLong => {
                "mlperf_logging, compliance_checker/training_VERSION: common.yaml and the rule \
                 files of division, benchmark and optimizer"
            }
            Self::BadValue => {
                "mlperf_logging, compliance_checker/training_VERSION; training_rules: table of the \
                 closed division's hyperparameters"
            }
            Self::AccuracyNotANumber | Self::TargetNotReached => {
                "mlperf_logging, compliance_checker/training_VERSION/DIVISION_BENCHMARK.yaml; \
                 training_rules: quality targets"
            }
            Self::TensorsDiffer => {
                "mlperf_logging, compliance_checker/training_1.0.0 to 2.1.0/closed_BENCHMARK.yaml"
            }
            Self::TimeBackwards
            | Self::TimeUnit
            | Self::SecondRun
            | Self::Resumed
            | Self::Pretrained
            | Self::EvalAfterStop
            | Self::StoppedTwice => {
                "training_rules: the clock runs from run_start to run_stop, and everything \
                 between counts"
            }
            Self::AccuracyNotFinite | Self::EvalEpochsFall | Self::EvalStep | Self::EvalSamples => {
                "training_rules: evaluation, its frequency and its data"
            }
            Self::StatusContradicts | Self::Aborted | Self::StatusWord | Self::OpenBelowTarget => {
                "training_rules: a run that reaches the target ends with success; any other run \
                 counts as failed"
            }
            Self::OrgDiffers => {
                "submission rules: the log and systems/SYSTEM.json name one submitter"
            }
            Self::EpochsFromZero | Self::EpochsUnpaired => {
                "training_rules: log entries; epochs count from 1 and have a start and an end"
            }
            Self::TrainSamples => "training_rules: the data set is ImageNet-1k's training set",
            Self::Momentum => "training_rules: table of the closed division's hyperparameters",
            Self::CacheNotCleared => "training_rules: caches are cleared before each run",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_texts_are_consistent() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.meaning().ends_with('.'), "{code}");
            assert!(!code.cure().ends_with('.'), "{code}");
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.severity()));
    }
}
