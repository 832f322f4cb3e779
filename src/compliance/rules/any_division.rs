//! Rules for every benchmark.

use crate::mllog::Key;

use super::super::ruleset::Ruleset;
use super::{Check, Effect, InitLimit, Mark, Rule};
use crate::mlperf::Division;

const DIVISIONS: &[&str] = &["closed", "open"];
const STATUSES: &[&str] = &["cloud", "onprem", "preview", "research"];

/// Rules for every log.
pub(super) fn common(ruleset: Ruleset) -> Vec<Rule> {
    let mut rules = vec![
        Rule::once(Key::SubmissionOrg).check(Check::NotEmpty),
        Rule::once(Key::SubmissionPlatform).check(Check::NotEmpty),
        Rule::once(Key::SubmissionDivision)
            .check(Check::OneOf(DIVISIONS))
            .then(Effect::EnterDivision),
        Rule::once(Key::SubmissionStatus).check(Check::OneOf(STATUSES)),
        Rule::some(Key::CacheClear),
        Rule::some(Key::InitStart)
            .check(Check::Before(Mark::InitStopped))
            .check(Check::Before(Mark::RunStarted))
            .then(Effect::Reach(Mark::InitStarted)),
        Rule::once(Key::InitStop)
            .check(Check::After(Mark::InitStarted))
            .check(Check::Before(Mark::RunStarted))
            .check(Check::InitWithin(init_limit(ruleset)))
            .then(Effect::Reach(Mark::InitStopped)),
        Rule::once(Key::RunStart)
            .check(Check::After(Mark::InitStopped))
            .then(Effect::Reach(Mark::RunStarted)),
        Rule::once(Key::RunStop)
            .check(Check::After(Mark::RunStarted))
            .check(Check::Has(&["status"])),
        Rule::once(Key::TrainSamples).check(Check::NotEmpty),
        Rule::once(Key::EvalSamples).check(Check::NotEmpty),
        Rule::or(Key::EpochStart, Key::BlockStart).check(Check::Has(&["epoch_num"])),
        Rule::or(Key::EpochStop, Key::BlockStop).check(Check::Has(&["epoch_num"])),
    ];
    let positions = Positions::of(ruleset);
    rules.extend([
        block_start(&positions),
        Rule::or(Key::BlockStop, Key::EpochStop).check(Check::Has(positions.block)),
        Rule::or(Key::EvalStart, Key::BlockStart).check(Check::Has(positions.epoch)),
        Rule::or(Key::EvalStop, Key::BlockStop).check(Check::Has(positions.epoch)),
        Rule::some(Key::EvalAccuracy).check(Check::Has(positions.epoch)),
    ]);
    if ruleset == Ruleset::V0_7_0 {
        rules.push(benchmark());
    }
    rules
}

/// Rules for every log of one division.
pub(super) fn division(ruleset: Ruleset, division: Division) -> Vec<Rule> {
    let mut rules = vec![benchmark().then(Effect::EnterBenchmark(division))];
    if division == Division::Closed && ruleset >= Ruleset::V1_0_0 {
        rules.push(Rule::once(Key::GradientAccumulationSteps).check(Check::Positive));
    }
    rules
}

fn benchmark() -> Rule {
    Rule::once(Key::SubmissionBenchmark).check(Check::OneOf(&["resnet"]))
}

fn init_limit(ruleset: Ruleset) -> InitLimit {
    match ruleset {
        Ruleset::V0_7_0 => InitLimit::Minutes(20.0),
        Ruleset::V1_0_0 | Ruleset::V1_1_0 => InitLimit::Minutes(30.0),
        _ => InitLimit::ByDivision,
    }
}

/// The metadata members that may give a record's position in the training.
struct Positions {
    epoch: &'static [&'static str],
    block: &'static [&'static str],
    count: &'static [&'static str],
}

impl Positions {
    fn of(ruleset: Ruleset) -> Self {
        match ruleset {
            Ruleset::V3_1_0 => Self {
                epoch: &["epoch_num", "step_num"],
                block: &["first_epoch_num", "step_num"],
                count: &["epoch_count", "step_num"],
            },
            Ruleset::V4_0_0 => Self {
                epoch: &["epoch_num", "samples_count"],
                block: &["first_epoch_num", "samples_count"],
                count: &["epoch_count", "samples_count"],
            },
            _ => {
                Self { epoch: &["epoch_num"], block: &["first_epoch_num"], count: &["epoch_count"] }
            }
        }
    }
}

fn block_start(positions: &Positions) -> Rule {
    let rule = Rule::or(Key::BlockStart, Key::EpochStart)
        .check(Check::After(Mark::RunStarted))
        .check(Check::Has(positions.count))
        .check(Check::MemberPositive("epoch_count"));
    match positions.count {
        [_, other] => rule
            .check(Check::HasWith("epoch_count", "first_epoch_num"))
            .check(Check::MemberNotNegative(other)),
        _ => rule.check(Check::Has(&["first_epoch_num"])),
    }
}
