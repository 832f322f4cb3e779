//! A recipe as what differs from the recipe that it extends.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::recipe::{self, Recipe, RecipeFile, RunContext};

/// Keys that say where and for whom a run ran, and not what it did.
const NOT_THE_RECIPE: [&str; 8] = [
    "mlperf.runs",
    "run.name",
    "run.seed",
    "run.device",
    "data.path",
    "data.order_seed",
    "mlperf.org",
    "mlperf.platform",
];

/// What a recipe changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecipeDiff {
    /// The recipe that it extends; `None`: it is compared with the defaults.
    pub(super) parent: Option<String>,
    /// Key, the parent's value and the recipe's. An absent value is `None`.
    pub(super) rows: Vec<(String, Option<String>, Option<String>)>,
}

impl RecipeDiff {
    /// What the resolved `recipe` called `name` changes. A recipe that is not found by its name any
    /// more, and one that extends nothing, is compared with the defaults.
    pub(super) fn of(name: &str, recipe: &Table, context: &RunContext) -> Self {
        if let Some((parent, table)) = parent(name, context) {
            return Self { parent: Some(parent), rows: differences(&table, recipe) };
        }
        let defaults = Table::try_from(RecipeFile::default()).unwrap_or_default();
        Self { parent: None, rows: differences(&defaults, recipe) }
    }
}

/// The recipe that `name` extends, resolved.
fn parent(name: &str, context: &RunContext) -> Option<(String, Table)> {
    let source = recipe::find(name).ok()?;
    let parent = recipe::parent(&source).ok()??;
    let file = recipe::load(&parent, &[]).ok()?;
    let file = Recipe::resolve(file.clone(), context).map_or(file, |recipe| recipe.to_file());
    Some((parent.name, Table::try_from(file).ok()?))
}

/// Keys of two recipes with different values: key, value in `one`, value in `other`.
pub(super) fn differences(
    one: &Table,
    other: &Table,
) -> Vec<(String, Option<String>, Option<String>)> {
    let (mut one, mut other) = (flat(one), flat(other));
    // A run names its images by their folder, even if the recipe generates them.
    let is_synth = |key: &String| key.starts_with("data.synth");
    if !one.keys().any(is_synth) || !other.keys().any(is_synth) {
        one.retain(|key, _| !is_synth(key));
        other.retain(|key, _| !is_synth(key));
    }
    let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differ = keys.into_iter().filter(|key| one.get(*key) != other.get(*key));
    differ.map(|key| (key.clone(), one.get(key).cloned(), other.get(key).cloned())).collect()
}

/// The values of a recipe by dotted key, without what is not the recipe's.
pub(super) fn flat(table: &Table) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    add(&mut flat, "", table);
    flat.retain(|key, _| !NOT_THE_RECIPE.contains(&&**key));
    flat
}

fn add(flat: &mut BTreeMap<String, String>, prefix: &str, table: &Table) {
    for (key, value) in table {
        match value {
            // An empty table switches a method on.
            Value::Table(inner) if inner.is_empty() => {
                flat.insert(format!("{prefix}{key}"), "on".to_owned());
            }
            Value::Table(inner) => add(flat, &format!("{prefix}{key}."), inner),
            value => {
                flat.insert(format!("{prefix}{key}"), value.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: RunContext =
        RunContext { world_size: 2, num_classes: 16, num_train: 3200, num_eval: 1600 };

    fn resolved(name: &str) -> Table {
        let source = recipe::find(name).unwrap();
        let file = recipe::load(&source, &[]).unwrap();
        Table::try_from(Recipe::resolve(file, &CONTEXT).unwrap().to_file()).unwrap()
    }

    #[test]
    fn a_recipe_shows_what_it_changes_in_the_one_it_extends() {
        let diff = RecipeDiff::of("demo/optimized", &resolved("demo/optimized"), &CONTEXT);
        assert_eq!(diff.parent.as_deref(), Some("demo/baseline"));
        let row = |key: &str| diff.rows.iter().find(|(found, ..)| found == key).cloned();
        let (_, theirs, ours) = row("optimizer.nesterov").unwrap();
        assert_eq!((theirs.as_deref(), ours.as_deref()), (Some("false"), Some("true")));
        let (_, theirs, ours) = row("algorithms.channels_last").unwrap();
        assert_eq!((theirs, ours.as_deref()), (None, Some("on")));
        assert!(row("train.batch_size").is_none() && row("run.seed").is_none(), "{diff:?}");
    }

    #[test]
    fn a_recipe_that_extends_nothing_is_compared_with_the_defaults() {
        let diff = RecipeDiff::of("demo/baseline", &resolved("demo/baseline"), &CONTEXT);
        assert_eq!(diff.parent, None);
        assert!(diff.rows.iter().any(|(key, ..)| key == "model.custom.width"), "{diff:?}");
        let same = RecipeDiff::of("no-such-recipe", &resolved("demo/baseline"), &CONTEXT);
        assert_eq!(same, diff);
    }
}
