//! The rules as data. A *book* is what the reference keeps in one rule file; books are opened one
//! after the other as the log names its division, its benchmark and its optimizer, and each goes
//! through the whole log with a state of its own.

mod any_division;
mod resnet;
mod tensors;

use crate::mllog::Key;

use super::ruleset::Ruleset;
use crate::mlperf::Division;

pub(super) use tensors::reference_tensors;

/// One rule file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Book {
    /// Every log.
    Common,
    /// Every log of a division.
    Division(Division),
    /// Every ResNet log of a division.
    Resnet(Division),
    /// ResNet, closed, this optimizer.
    Optimizer(Family),
}

/// The optimizers of the closed division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Sgd,
    Lars,
}

impl Book {
    /// Its rules under `ruleset`.
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

/// What a book says about one key.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) key: Key,
    pub(super) need: Need,
    /// What must hold of each record (of the first one only for `submission_*` keys).
    pub(super) checks: Vec<Check>,
    /// What must hold of one of the records.
    pub(super) any: Option<Accuracy>,
    /// What a record does, whether its checks hold or not.
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
    /// Once; more often with equal values is a warning.
    ExactlyOne,
    AtLeastOne,
    /// It or the other one.
    AtLeastOneOr(Key),
}

/// What must hold of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Check {
    /// The value is not the empty string (null passes).
    NotEmpty,
    OneOf(&'static [&'static str]),
    /// The value is a number above 0.
    Positive,
    Equals(f64),
    /// The value is a whole multiple.
    MultipleOf(f64),
    /// The value is this times a power of two.
    PowerOfTwoTimes(f64),
    /// The metadata has one of these members.
    Has(&'static [&'static str]),
    /// If the metadata has the first member, it has the second one.
    HasWith(&'static str, &'static str),
    /// If the metadata has this member, it is a number above 0.
    MemberPositive(&'static str),
    /// If the metadata has this member, it is a number from 0 up.
    MemberNotNegative(&'static str),
    /// The mark has been reached.
    After(Mark),
    /// The mark has not been reached.
    Before(Mark),
    /// Less than this many minutes since the earliest `init_start`.
    InitWithin(InitLimit),
}

/// Where a log has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    InitStarted,
    InitStopped,
    RunStarted,
}

impl Mark {
    /// The key that reaches it.
    pub(super) const fn key(self) -> Key {
        match self {
            Self::InitStarted => Key::InitStart,
            Self::InitStopped => Key::InitStop,
            Self::RunStarted => Key::RunStart,
        }
    }
}

/// How long setting up may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InitLimit {
    Minutes(f64),
    /// 240 min open, 30 min closed, and none at all while the division has not been logged.
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

/// What a record does to the state of its book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Opens the book of the division, and sets its limit on init.
    EnterDivision,
    /// Opens the book of the benchmark in this division.
    EnterBenchmark(Division),
    /// Opens the book of the optimizer.
    EnterOptimizer,
    Reach(Mark),
    /// Collects `metadata.tensor`, to be compared at the end.
    CollectTensor,
}
