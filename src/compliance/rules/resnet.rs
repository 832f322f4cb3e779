//! Rules for the ResNet benchmark.

use crate::mllog::Key;

use super::super::ruleset::Ruleset;
use super::{Accuracy, Check, Effect, Rule};

/// Open division: one evaluation, of any accuracy since 1.0.0.
pub(super) fn open(ruleset: Ruleset) -> Vec<Rule> {
    let accuracy = if ruleset == Ruleset::V0_7_0 { Accuracy::Target } else { Accuracy::Any };
    vec![eval_accuracy(accuracy)]
}

/// Closed division: the target, the batch size and a known optimizer; in some rounds also the
/// initialization of every tensor.
pub(super) fn closed(ruleset: Ruleset) -> Vec<Rule> {
    let mut rules = vec![
        Rule::once(Key::GlobalBatchSize).check(Check::Positive),
        Rule::once(Key::OptName).check(Check::OneOf(&["sgd", "lars"])).then(Effect::EnterOptimizer),
        eval_accuracy(Accuracy::Target),
    ];
    if (Ruleset::V1_1_0..=Ruleset::V2_1_0).contains(&ruleset) {
        rules.push(
            Rule::some(Key::WeightsInitialization)
                .check(Check::Has(&["tensor"]))
                .then(Effect::CollectTensor),
        );
    }
    rules
}

/// The hyperparameters of LARS.
pub(super) fn lars() -> Vec<Rule> {
    vec![
        Rule::once(Key::LarsOptBaseLearningRate),
        Rule::once(Key::LarsOptEndLearningRate).check(Check::Equals(1e-4)),
        Rule::once(Key::LarsOptLearningRateDecayPolyPower).check(Check::Equals(2.0)),
        Rule::once(Key::LarsOptLearningRateDecaySteps),
        Rule::once(Key::LarsEpsilon).check(Check::Equals(0.0)),
        Rule::once(Key::LarsOptLearningRateWarmupEpochs),
        Rule::once(Key::LarsOptMomentum),
        Rule::once(Key::LarsOptWeightDecay).check(Check::PowerOfTwoTimes(1e-4)),
    ]
}

/// The hyperparameters of SGD.
pub(super) fn sgd() -> Vec<Rule> {
    vec![
        Rule::once(Key::SgdOptBaseLearningRate).check(Check::MultipleOf(1e-3)),
        Rule::once(Key::SgdOptEndLearningRate).check(Check::Equals(1e-4)),
        Rule::once(Key::SgdOptLearningRateDecayPolyPower),
        Rule::once(Key::SgdOptLearningRateDecaySteps),
        Rule::once(Key::SgdOptWeightDecay).check(Check::PowerOfTwoTimes(1e-4)),
        Rule::once(Key::SgdOptMomentum),
        Rule::once(Key::ModelBnSpan),
        Rule::once(Key::OptLearningRateWarmupEpochs),
    ]
}

fn eval_accuracy(any: Accuracy) -> Rule {
    Rule::some(Key::EvalAccuracy).check(Check::Has(&["epoch_num"])).any(any)
}
