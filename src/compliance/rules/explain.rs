//! What holds for one key.

use super::{Catalogue, Division, RuleFile, Ruleset};

/// What one rule file says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRule {
    /// Which logs it concerns.
    pub scope: String,
    /// Its statements, each the rest of a sentence that begins with the key.
    pub statements: Vec<String>,
    /// The rule file of the reference.
    pub source: String,
}

/// Everything that `ruleset` says about `key` in logs of `benchmark`, the general rules first. If a
/// file covers the key again, the findings of the files before it do not count.
pub fn explain(key: &str, benchmark: &str, ruleset: Ruleset) -> Vec<KeyRule> {
    let files = &Catalogue::of(ruleset).files;
    let fits = |file: &&RuleFile| file.benchmark.is_none_or(|own| own == benchmark);
    let mut files: Vec<_> = files.iter().filter(fits).collect();
    files.sort_by_key(|file| (file.benchmark.is_some(), file.optimizer.is_some()));
    let rules = files.into_iter().filter_map(|file| {
        let rule = file.rules.iter().find(|rule| rule.key == key)?;
        let statements = rule.describe();
        Some(KeyRule { scope: file.scope(), statements, source: file.source(ruleset) })
    });
    rules.collect()
}

impl RuleFile {
    fn scope(&self) -> String {
        let division = self.division.map_or("both divisions", Division::as_str);
        match (self.benchmark, self.optimizer) {
            (None, _) => format!("every benchmark, {division}"),
            (Some(benchmark), None) => format!("{benchmark}, {division}"),
            (Some(benchmark), Some(optimizer)) => format!("{benchmark}, {division}, {optimizer}"),
        }
    }

    /// The reference's file.
    fn source(&self, ruleset: Ruleset) -> String {
        let parts = [self.division.map(Division::as_str), self.benchmark, self.optimizer];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let name = match self.benchmark {
            Some(_) => parts.join("_"),
            None => [&parts[..], &["common"]].concat().join("_"),
        };
        format!("compliance_checker/training_{ruleset}/{name}.yaml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_general_rules_come_first() {
        let rules = explain("eval_accuracy", "llama31_8b", Ruleset::V6_1_0);
        let scopes: Vec<_> = rules.iter().map(|rule| rule.scope.as_str()).collect();
        assert_eq!(
            scopes,
            ["every benchmark, both divisions", "llama31_8b, closed", "llama31_8b, open"]
        );
        assert_eq!(rules[0].source, "compliance_checker/training_6.1.0/common.yaml");
        assert_eq!(rules[1].statements[2], "must once be above 0 and at most 3.3");
        assert_eq!(explain("no_such_key", "llama31_8b", Ruleset::V6_1_0), []);
    }

    #[test]
    fn the_rules_of_an_optimizer_are_closed() {
        let rules = explain("lars_epsilon", "resnet", Ruleset::V2_0_0);
        assert_eq!(rules[0].scope, "resnet, closed, lars");
        assert_eq!(rules[0].source, "compliance_checker/training_2.0.0/closed_resnet_lars.yaml");
    }
}
