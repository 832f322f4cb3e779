//! How rules are written in TOML, and their translation into [`Rule`]s.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::{
    Check, Equation, Formula, InitLimit, Join, MemberMust, Need, Relation, Rule, Ruleset, Selects,
    Step, TargetPart, Value, pattern,
};

/// A rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RulesText {
    /// Rules for every division. Only `any_benchmark.toml` has them.
    #[serde(default)]
    pub(super) any: Option<Section>,
    #[serde(default)]
    pub(super) closed: Option<Section>,
    #[serde(default)]
    pub(super) open: Option<Section>,
    /// Closed rules for each value of `opt_name`.
    #[serde(default)]
    pub(super) optimizer: BTreeMap<String, Section>,
}

/// The rules of one division.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    since: Ruleset,
    #[serde(default)]
    until: Option<Ruleset>,
    /// Rulesets that have these rules although they do not list the benchmark. The reference rejects
    /// such logs without a traceback.
    #[serde(default)]
    unlisted: Vec<Ruleset>,
    /// Keys that must occur exactly once, with any value.
    #[serde(default)]
    once: Vec<String>,
    /// Rules by key, or by a pattern of several keys with the same rule.
    #[serde(default)]
    keys: BTreeMap<String, OneOrMore<RuleText>>,
}

#[derive(Debug)]
enum OneOrMore<T> {
    One(Box<T>),
    More(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(OneOrMoreVisitor(PhantomData))
    }
}

struct OneOrMoreVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMoreVisitor<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table or a list of tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMore::One(Box::new(one)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore::More)
    }
}

impl<T> OneOrMore<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

/// One rule. Its fields are explained at [`Rule`] and [`Check`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuleText {
    since: Option<Ruleset>,
    until: Option<Ruleset>,
    need: Need,
    is: Option<Is>,
    equals: Option<Literal>,
    one_of: Option<Vec<Literal>>,
    above: Option<Formula>,
    at_least: Option<Formula>,
    below: Option<Formula>,
    at_most: Option<Formula>,
    multiple_of: Option<f64>,
    or_divides_below_batch: Option<f64>,
    second_multiple_of: Option<f64>,
    power_of_two_times: Option<f64>,
    close_to: Option<Formula>,
    equation: Option<Equation>,
    length: Option<usize>,
    value_has: Vec<String>,
    has: Vec<String>,
    has_with: BTreeMap<String, String>,
    members: BTreeMap<String, MemberText>,
    step: Option<Step>,
    after: Vec<String>,
    before: Vec<String>,
    init_limit_min: Option<InitLimit>,
    first: BTreeMap<String, Formula>,
    target: Option<OneOrMore<TargetText>>,
    remember: Vec<Equation>,
    selects: Option<Selects>,
    tensors: Vec<String>,
    join: Option<Join>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Is {
    NotEmpty,
    Whole,
    Integer,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "true, false, a number or a string")]
enum Literal {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl From<&Literal> for Value {
    fn from(literal: &Literal) -> Self {
        match literal {
            Literal::Bool(yes) => Self::Bool(*yes),
            Literal::Int(int) => Self::Int((*int).into()),
            Literal::Float(float) => Self::Float(*float),
            Literal::Text(text) => Self::Text(text.clone()),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MemberText {
    above: Option<Formula>,
    at_least: Option<Formula>,
    one_of: Option<Vec<Literal>>,
    divisible_by: Option<Formula>,
}

/// A target that rises to a bound or falls to one, with bounds on the other side.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TargetText {
    member: Option<String>,
    above: Option<Formula>,
    at_least: Option<Formula>,
    rises_to: Option<Formula>,
    falls_to: Option<Formula>,
    below: Option<Formula>,
    at_most: Option<Formula>,
}

impl Section {
    /// Whether `ruleset` has these rules.
    pub(super) fn covers(&self, ruleset: Ruleset) -> bool {
        spans(Some(self.since), self.until, ruleset)
    }

    /// Whether `ruleset` has these rules but not the benchmark.
    pub(super) fn is_unlisted(&self, ruleset: Ruleset) -> bool {
        self.unlisted.contains(&ruleset)
    }

    /// The rules under `ruleset`, by key.
    pub(super) fn rules(&self, ruleset: Ruleset) -> Vec<Rule> {
        let once = self.once.iter().map(|key| RuleText::default().rule(key));
        let others = self.keys.iter().flat_map(|(keys, texts)| {
            let holds = |text: &&RuleText| spans(text.since, text.until, ruleset);
            let text = texts.as_slice().iter().find(holds);
            let keys = text.map_or(Vec::new(), |_| pattern::names(keys));
            keys.into_iter().filter_map(move |key| Some(text?.rule(&key)))
        });
        let mut rules: Vec<_> = once.chain(others).collect();
        let used: BTreeSet<_> = rules.iter().flat_map(Rule::names).map(str::to_owned).collect();
        for rule in &mut rules {
            rule.is_remembered = used.contains(&rule.key);
        }
        rules
    }
}

fn spans(since: Option<Ruleset>, until: Option<Ruleset>, ruleset: Ruleset) -> bool {
    since.is_none_or(|since| since <= ruleset) && until.is_none_or(|until| ruleset <= until)
}

impl RuleText {
    fn rule(&self, key: &str) -> Rule {
        let target = self.target.as_ref().map_or(&[][..], OneOrMore::as_slice);
        Rule {
            key: key.into(),
            need: self.need.clone(),
            checks: self.checks(),
            first: self
                .first
                .iter()
                .next()
                .map(|(member, formula)| (member.clone(), formula.clone())),
            target: target.iter().map(TargetText::part).collect(),
            remember: self
                .remember
                .iter()
                .map(|Equation { left, right }| (left.to_string(), right.clone()))
                .collect(),
            is_remembered: false,
            selects: self.selects,
            tensors: self.tensors.clone(),
            join: self.join.clone(),
        }
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        checks.extend(self.is.map(|is| match is {
            Is::NotEmpty => Check::NotEmpty,
            Is::Whole => Check::Whole,
            Is::Integer => Check::Integer,
        }));
        checks.extend(self.equals.iter().map(|literal| Check::OneOf(vec![literal.into()])));
        checks.extend(self.one_of.iter().map(|literals| Check::OneOf(values(literals))));
        let bounds = [
            (Relation::Above, &self.above),
            (Relation::AtLeast, &self.at_least),
            (Relation::Below, &self.below),
            (Relation::AtMost, &self.at_most),
        ];
        checks.extend(written(&bounds).map(|(relation, bound)| Check::Compare(relation, bound)));
        checks.extend(
            self.multiple_of.map(|unit| Check::MultipleOf(unit, self.or_divides_below_batch)),
        );
        checks.extend(self.second_multiple_of.map(Check::SecondMultipleOf));
        checks.extend(self.power_of_two_times.map(Check::PowerOfTwoTimes));
        checks.extend(self.close_to.clone().map(Check::CloseTo));
        checks.extend(self.equation.clone().map(Check::Equal));
        checks.extend(self.length.map(Check::Length));
        checks.extend(self.value_has.iter().cloned().map(Check::ValueHas));
        checks.extend((!self.has.is_empty()).then(|| Check::Has(self.has.clone())));
        let pairs = self.has_with.iter();
        checks.extend(pairs.map(|(name, other)| Check::HasWith(name.clone(), other.clone())));
        for (name, member) in &self.members {
            checks.extend(member.musts().map(|must| Check::Member(name.clone(), must)));
        }
        checks.extend(self.step.clone().map(Check::Step));
        checks.extend(self.after.iter().cloned().map(Check::After));
        checks.extend(self.before.iter().cloned().map(Check::Before));
        checks.extend(self.init_limit_min.map(Check::InitWithin));
        checks
    }
}

fn values(literals: &[Literal]) -> Vec<Value> {
    literals.iter().map(Into::into).collect()
}

/// The bounds that are there.
fn written(bounds: &[(Relation, &Option<Formula>)]) -> impl Iterator<Item = (Relation, Formula)> {
    bounds.iter().filter_map(|(relation, bound)| Some((*relation, bound.as_ref()?.clone())))
}

impl MemberText {
    fn musts(&self) -> impl Iterator<Item = MemberMust> {
        let bounds = [(Relation::Above, &self.above), (Relation::AtLeast, &self.at_least)];
        let bounds: Vec<_> = written(&bounds).collect();
        let bounds =
            bounds.into_iter().map(|(relation, bound)| MemberMust::Compare(relation, bound));
        let one_of = self.one_of.iter().map(|literals| MemberMust::OneOf(values(literals)));
        bounds.chain(one_of).chain(self.divisible_by.clone().map(MemberMust::DivisibleBy))
    }
}

impl TargetText {
    fn part(&self) -> TargetPart {
        let bounds = [
            (Relation::Above, &self.above),
            (Relation::AtLeast, &self.at_least),
            (Relation::AtLeast, &self.rises_to),
            (Relation::AtMost, &self.falls_to),
            (Relation::Below, &self.below),
            (Relation::AtMost, &self.at_most),
        ];
        TargetPart {
            member: self.member.clone(),
            bounds: written(&bounds).collect(),
            falls: self.falls_to.is_some(),
        }
    }
}

impl Rule {
    /// The names that its formulas use.
    fn names(&self) -> impl Iterator<Item = &str> {
        let in_checks = self.checks.iter().flat_map(|check| match check {
            Check::Compare(_, formula)
            | Check::CloseTo(formula)
            | Check::Member(
                _,
                MemberMust::Compare(_, formula) | MemberMust::DivisibleBy(formula),
            ) => formula.names(),
            Check::Equal(equation) => [equation.left.names(), equation.right.names()].concat(),
            Check::MultipleOf(_, Some(_)) => vec!["global_batch_size"],
            Check::Step(step) => vec![&step.by[..]],
            _ => Vec::new(),
        });
        let targets = self.target.iter().flat_map(|part| &part.bounds).map(|(_, bound)| bound);
        let formulas = targets.chain(self.first.iter().map(|(_, formula)| formula));
        let formulas = formulas.chain(self.remember.iter().map(|(_, formula)| formula));
        in_checks.chain(formulas.flat_map(Formula::names))
    }
}

/// What the rules of the rule file `text` say under `ruleset`.
#[cfg(any(test, feature = "fuzz"))]
pub(in super::super) fn statements(text: &str, ruleset: Ruleset) -> Result<Vec<String>, String> {
    let file: RulesText = toml::from_str(text).map_err(|error| error.to_string())?;
    let sections = [&file.any, &file.closed, &file.open].into_iter().flatten();
    let rules = sections.chain(file.optimizer.values()).flat_map(|section| section.rules(ruleset));
    Ok(rules.flat_map(|rule| rule.describe()).collect())
}
