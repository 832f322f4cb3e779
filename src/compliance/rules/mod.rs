//! The rules as data. A [`RuleFile`] corresponds to one YAML file of the reference. The log selects
//! them one after the other by naming its division, benchmark and optimizer. Each one goes through
//! the whole log with its own state.

mod any_division;
mod resnet;
mod tensors;

use crate::mllog::Key;

use super::ruleset::Ruleset;
use crate::mlperf::Division;

pub(super) use tensors::reference_tensors;

/// One rule file of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleFile {
    /// For every log.
    Common,
    /// For every log of a division.
    Division(Division),
    /// For every ResNet log of a division.
    Resnet(Division),
    /// For closed ResNet logs with this optimizer.
    Optimizer(Family),
}

/// The optimizers of the closed division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Sgd,
    Lars,
}

impl RuleFile {
    /// The rules under `ruleset`.
    pub(super) fn rules(self, ruleset: Ruleset) -> Vec<Rule> {
        match self {
            Self::Common => any_division::common(ruleset),
            Self::Division(division) => any_division::division(ruleset, division),
            Self::Resnet(Division::Open) => resnet::open(ruleset),
            Self::Resnet(Division::Closed) => resnet::closed(ruleset),
            Self::Optimizer(Family::Sgd) => resnet::sgd(),
            Self::Optimizer(Family::Lars) => resnet::lars(),
        }
    }
}

/// What a rule file says about one key.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) key: Key,
    pub(super) need: Need,
    /// What every record must meet (for `submission_*` keys, only the first).
    pub(super) checks: Vec<Check>,
    /// What one of the records must meet.
    pub(super) any: Option<Accuracy>,
    /// What a record does, whether its checks pass or not.
    pub(super) effect: Option<Effect>,
}

impl Rule {
    fn new(key: Key, need: Need) -> Self {
        Self { key, need, checks: Vec::new(), any: None, effect: None }
    }

    fn once(key: Key) -> Self {
        Self::new(key, Need::ExactlyOne)
    }

    fn some(key: Key) -> Self {
        Self::new(key, Need::AtLeastOne)
    }

    fn or(key: Key, other: Key) -> Self {
        Self::new(key, Need::AtLeastOneOr(other))
    }

    fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    fn any(mut self, any: Accuracy) -> Self {
        self.any = Some(any);
        self
    }

    fn then(mut self, effect: Effect) -> Self {
        self.effect = Some(effect);
        self
    }
}

/// How often a key must occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Exactly once; repeating it with equal values is a warning.
    ExactlyOne,
    AtLeastOne,
    /// This key or the other one.
    AtLeastOneOr(Key),
}

/// What a record must meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Check {
    /// The value is not the empty string (null passes).
    NotEmpty,
    OneOf(&'static [&'static str]),
    /// The value is a number above 0.
    Positive,
    Equals(f64),
    /// The value is a whole multiple of this.
    MultipleOf(f64),
    /// The value is this times a power of two.
    PowerOfTwoTimes(f64),
    /// The metadata has one of these members.
    Has(&'static [&'static str]),
    /// If the metadata has the first member, it also has the second one.
    HasWith(&'static str, &'static str),
    /// If the metadata has this member, it is a number above 0.
    MemberPositive(&'static str),
    /// If the metadata has this member, it is a number of at least 0.
    MemberNotNegative(&'static str),
    /// The log has reached this mark.
    After(Mark),
    /// The log has not reached this mark.
    Before(Mark),
    /// Less than this many minutes have passed since the earliest `init_start`.
    InitWithin(InitLimit),
}

/// The stages of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    InitStarted,
    InitStopped,
    RunStarted,
}

impl Mark {
    /// The key that reaches this mark.
    pub(super) const fn key(self) -> Key {
        match self {
            Self::InitStarted => Key::InitStart,
            Self::InitStopped => Key::InitStop,
            Self::RunStarted => Key::RunStart,
        }
    }
}

/// The time limit on initialization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InitLimit {
    Minutes(f64),
    /// 240 min open, 30 min closed; every time is rejected until the division has been logged.
    ByDivision,
}

/// An accuracy that one evaluation must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accuracy {
    /// Below 1.
    Any,
    /// 0.759 or more, and below 1.
    Target,
}

/// Top-1 accuracy to reach.
pub(super) const TARGET: f64 = 0.759;

/// What a record does to the state of its rule file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Selects the rule file of the division and sets its limit on initialization.
    EnterDivision,
    /// Selects the rule file of the benchmark in this division.
    EnterBenchmark(Division),
    /// Selects the rule file of the optimizer.
    EnterOptimizer,
    Reach(Mark),
    /// Collects `metadata.tensor`, for the comparison at the end.
    CollectTensor,
}
