//! The keys of the log, in one table.

/// Generates [`Key`] and its strings from one table, so that none can be forgotten.
macro_rules! keys {
    ($($name:ident = $text:literal,)*) => {
        /// A key of the MLPerf log; the strings are those of `mllog/constants.py`, verbatim.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Key {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl Key {
            /// Every key, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The key's text in the log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The key whose text in the log is `text`.
            pub fn named(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

keys! {
    SubmissionBenchmark = "submission_benchmark",
    SubmissionDivision = "submission_division",
    SubmissionOrg = "submission_org",
    SubmissionPlatform = "submission_platform",
    SubmissionPocName = "submission_poc_name",
    SubmissionStatus = "submission_status",
    CacheClear = "cache_clear",
    InitStart = "init_start",
    InitStop = "init_stop",
    Seed = "seed",
    GlobalBatchSize = "global_batch_size",
    GradientAccumulationSteps = "gradient_accumulation_steps",
    TrainSamples = "train_samples",
    EvalSamples = "eval_samples",
    ModelBnSpan = "model_bn_span",
    OptName = "opt_name",
    OptLearningRateWarmupEpochs = "opt_learning_rate_warmup_epochs",
    OptBaseLearningRate = "opt_base_learning_rate",
    OptEndLearningRate = "opt_end_learning_rate",
    OptLearningRateDecaySteps = "opt_learning_rate_decay_steps",
    OptWeightDecay = "opt_weight_decay",
    OptAdamwBeta1 = "opt_adamw_beta_1",
    OptAdamwBeta2 = "opt_adamw_beta_2",
    OptAdamwEpsilon = "opt_adamw_epsilon",
    OptAdamwWeightDecay = "opt_adamw_weight_decay",
    OptLambBeta1 = "opt_lamb_beta_1",
    OptLambBeta2 = "opt_lamb_beta_2",
    OptLambEpsilon = "opt_lamb_epsilon",
    OptLambWeightDecayRate = "opt_lamb_weight_decay_rate",
    SgdOptBaseLearningRate = "sgd_opt_base_learning_rate",
    SgdOptEndLearningRate = "sgd_opt_end_learning_rate",
    SgdOptLearningRateDecayPolyPower = "sgd_opt_learning_rate_decay_poly_power",
    SgdOptLearningRateDecaySteps = "sgd_opt_learning_rate_decay_steps",
    SgdOptMomentum = "sgd_opt_momentum",
    SgdOptWeightDecay = "sgd_opt_weight_decay",
    LarsEpsilon = "lars_epsilon",
    LarsOptBaseLearningRate = "lars_opt_base_learning_rate",
    LarsOptEndLearningRate = "lars_opt_end_learning_rate",
    LarsOptLearningRateDecayPolyPower = "lars_opt_learning_rate_decay_poly_power",
    LarsOptLearningRateDecaySteps = "lars_opt_learning_rate_decay_steps",
    LarsOptLearningRateWarmupEpochs = "lars_opt_learning_rate_warmup_epochs",
    LarsOptMomentum = "lars_opt_momentum",
    LarsOptWeightDecay = "lars_opt_weight_decay",
    WeightsInitialization = "weights_initialization",
    RunStart = "run_start",
    RunStop = "run_stop",
    BlockStart = "block_start",
    BlockStop = "block_stop",
    EpochStart = "epoch_start",
    EpochStop = "epoch_stop",
    EvalStart = "eval_start",
    EvalStop = "eval_stop",
    EvalAccuracy = "eval_accuracy",
    TrackedStats = "tracked_stats",
}

impl Key {
    /// The `event_type` that `mllog` gives this key.
    pub(super) fn event_type(self) -> &'static str {
        let text = self.as_str();
        if text.ends_with("_start") {
            "INTERVAL_START"
        } else if text.ends_with("_stop") {
            "INTERVAL_END"
        } else {
            "POINT_IN_TIME"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pairs_of_start_and_stop_are_intervals() {
        assert_eq!(Key::EpochStart.event_type(), "INTERVAL_START");
        assert_eq!(Key::RunStop.event_type(), "INTERVAL_END");
        let points = Key::ALL.iter().filter(|key| key.event_type() == "POINT_IN_TIME").count();
        assert_eq!(points, Key::ALL.len() - 10);
    }
}
