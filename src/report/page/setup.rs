//! What was run, on what, and what the check of the logs says.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use super::{
    NONE,
    tables::{Column, table, text},
};
use crate::{
    compliance::{Finding, Severity},
    report::{
        Comparison,
        recipe_diff::{RecipeDiff, flat},
        system::SystemFigures,
    },
    run_dir::RunManifest,
};

/// Findings of one code that a run lists.
const SHOWN_ALIKE: usize = 3;

/// Members of a system's description that come first.
const FIRST_MEMBERS: [&str; 9] = [
    "submitter",
    "system_name",
    "status",
    "number_of_nodes",
    "accelerators_per_node",
    "accelerator_model_name",
    "host_processor_model_name",
    "host_processors_per_node",
    "framework",
];

/// What the check of the logs found.
pub(super) fn findings(comparison: &Comparison) -> Markup {
    let columns = [
        Column::words("system"),
        Column::words("runs"),
        Column::words("severity"),
        Column::words("code"),
        Column::prose("finding"),
    ];
    let found = comparison.systems.iter().flat_map(|system| {
        found(system).into_iter().map(|found| found.row(&system.label, system.runs.len()))
    });
    let rows: Vec<_> = found.collect();
    let runs = comparison.systems.iter().flat_map(|system| &system.runs);
    let rulesets = runs.filter_map(|run| Some(run.report.as_ref()?.ruleset.as_str()));
    let rulesets: Vec<_> = rulesets.collect::<BTreeSet<_>>().into_iter().collect();
    let rulesets = rulesets.join(", ");
    html! {
        section {
            h2 { "Log check" }
            @if rulesets.is_empty() {
                p { "No run has a log." }
            } @else if rows.is_empty() {
                p { "No findings under ruleset " (rulesets) "." }
            } @else {
                p.soft { "Ruleset " (rulesets) ". Errors reject a log; other findings do not." }
                (table("Findings", &columns, &rows, &[]))
            }
        }
    }
}

/// A finding, and the runs that have it.
struct Found<'a> {
    finding: &'a Finding,
    text: String,
    runs: Vec<&'a str>,
}

/// The findings of a system. Equal ones of several runs are one, and only the first few of a kind are
/// written out for each run.
fn found(system: &SystemFigures) -> Vec<Found<'_>> {
    let mut all: Vec<Found<'_>> = Vec::new();
    for run in &system.runs {
        let findings: Vec<&Finding> = run.report.iter().flat_map(|it| &it.findings).collect();
        for (index, finding) in findings.iter().enumerate() {
            let alike = |at: &[&Finding]| {
                at.iter().filter(|it| it.code == finding.code && it.key == finding.key).count()
            };
            let text = match alike(&findings[..index]) {
                0..SHOWN_ALIKE => finding.to_string(),
                SHOWN_ALIKE => format!("and {} more of this kind", alike(&findings[index..])),
                _ => continue,
            };
            let same = all.iter_mut().find(|it| it.finding.code == finding.code && it.text == text);
            match same {
                Some(same) if same.runs.last() == Some(&&*run.name) => {}
                Some(same) => same.runs.push(&run.name),
                None => all.push(Found { finding, text, runs: vec![&run.name] }),
            }
        }
    }
    all
}

impl Found<'_> {
    fn row(&self, system: &str, num_runs: usize) -> Vec<Markup> {
        let severity = self.finding.severity();
        let is_all = num_runs > 1 && self.runs.len() == num_runs;
        let line = self.finding.line.filter(|_| self.runs.len() == 1);
        vec![
            text(system),
            text(if is_all { "all".to_owned() } else { self.runs.join(", ") }),
            html! { span.bad[severity == Severity::Error] { (severity.as_str()) } },
            text(self.finding.code.as_str()),
            html! { @if let Some(line) = line { "line " (line) ": " } (self.text) },
        ]
    }
}

/// What the recipes change, and where they differ.
pub(super) fn recipes(comparison: &Comparison) -> Markup {
    let with_recipe: Vec<&SystemFigures> =
        comparison.systems.iter().filter(|system| system.recipe_diff.is_some()).collect();
    let logged: Vec<&SystemFigures> =
        comparison.systems.iter().filter(|system| system.recipe_diff.is_none()).collect();
    html! {
        section {
            @if !with_recipe.is_empty() { h2 { "Recipe" } }
            @if with_recipe.len() > 1 { (recipe_comparison(&with_recipe)) }
            @for system in &with_recipe { (recipe_diff(system, with_recipe.len() == 1)) }
            @if !logged.is_empty() {
                h2 { "Hyperparameters in the logs" }
                (logged_settings(&logged))
            }
        }
    }
}

#[expect(clippy::fn_params_excessive_bools, reason = "the state of a disclosure is open or closed")]
fn recipe_diff(system: &SystemFigures, is_open: bool) -> Markup {
    let Some(RecipeDiff { parent, rows }) = &system.recipe_diff else { return html! {} };
    let name = system.recipe_name().unwrap_or_default();
    let base = parent.clone().unwrap_or_else(|| "defaults".to_owned());
    let columns = [Column::words("key"), Column::prose(base), Column::prose(&name)];
    let rows: Vec<_> = rows
        .iter()
        .map(|(key, base, own)| {
            vec![html! { code { (key) } }, code(base.as_deref()), code(own.as_deref())]
        })
        .collect();
    let title = match parent {
        Some(parent) => format!("{name} changes {} values of {parent}", rows.len()),
        None => format!("{name} sets {} values other than the defaults", rows.len()),
    };
    html! {
        details open[is_open] {
            summary { (title) }
            (table(&title, &columns, &rows, &[]))
        }
    }
}

/// A value of a recipe, or that it has none.
fn code(value: Option<&str>) -> Markup {
    html! {
        @if let Some(value) = value { code { (value) } } @else { span.soft { (NONE) } }
    }
}

/// Keys whose values differ between systems, a column for each.
fn recipe_comparison(systems: &[&SystemFigures]) -> Markup {
    let recipe = |system: &SystemFigures| {
        let recipe = system.runs.iter().find_map(|run| run.recipe.as_ref());
        recipe.map(flat).unwrap_or_default()
    };
    let recipes: Vec<_> = systems.iter().map(|system| recipe(system)).collect();
    let keys: BTreeSet<&String> = recipes.iter().flat_map(|recipe| recipe.keys()).collect();
    let differing = keys
        .into_iter()
        .filter(|key| recipes.iter().any(|recipe| recipe.get(*key) != recipes[0].get(*key)));
    let rows: Vec<_> = differing
        .map(|key| {
            let cells = recipes.iter().map(|recipe| code(recipe.get(key).map(String::as_str)));
            std::iter::once(html! { code { (key) } }).chain(cells).collect::<Vec<_>>()
        })
        .collect();
    let mut columns = vec![Column::words("key")];
    columns.extend(systems.iter().map(|system| Column::prose(&system.label)));
    html! {
        details open {
            summary { "The recipes differ in " (rows.len()) " values" }
            (table("Differences between the recipes", &columns, &rows, &[]))
        }
    }
}

/// Hyperparameters that the logs report, a column for each system.
fn logged_settings(systems: &[&SystemFigures]) -> Markup {
    let mut columns = vec![Column::words("key")];
    columns.extend(systems.iter().map(|system| Column::numbers(&system.label)));
    let settings: Vec<Vec<(&str, String)>> = systems
        .iter()
        .map(|system| {
            let report = system.runs.iter().find_map(|run| run.report.as_ref());
            let all = report.iter().flat_map(|report| report.settings.iter());
            all.map(|(key, value)| (key, value.to_string())).collect()
        })
        .collect();
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in settings.iter().flatten() {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
    let value = |of: &[(&str, String)], key: &str| {
        let found = of.iter().find(|(known, _)| *known == key);
        text(found.map_or(NONE, |(_, value)| value.trim_matches('"')))
    };
    let row = |key: &&str| {
        let cells = settings.iter().map(|of| value(of, key));
        std::iter::once(html! { code { (key) } }).chain(cells).collect::<Vec<_>>()
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    html! { details open { summary { "As the first run of each system logged them" } (table("Hyperparameters", &columns, &rows, &[])) } }
}

/// Machines, data and programs.
pub(super) fn systems(comparison: &Comparison) -> Markup {
    let mut systems = Vec::new();
    for system in &comparison.systems {
        let manifest = system.runs.iter().find_map(|run| run.manifest.as_ref());
        let rows = match (manifest, &system.description) {
            (Some(manifest), _) => manifest_rows(manifest),
            (None, Some(description)) => description_rows(description),
            (None, None) => continue,
        };
        systems.push((&system.label, rows));
    }
    if systems.is_empty() {
        return html! {};
    }
    let columns = [Column::words(""), Column::prose("")];
    html! {
        section {
            h2 { "System and data" }
            @for (label, rows) in &systems {
                @if comparison.systems.len() > 1 { h3 { (label) } }
                (table(label, &columns, rows, &[]))
            }
        }
    }
}

fn manifest_rows(manifest: &RunManifest) -> Vec<Vec<Markup>> {
    let data = &manifest.data_set;
    let images = format!(
        "{} to train on, {} to evaluate, {} classes",
        data.num_train, data.num_eval, data.num_classes
    );
    let store = data.store_sha256.as_ref().map(|hash| ("store", format!("sha256 {hash}")));
    let kind = data.synth.as_ref().map(|_| ("kind", "the built-in image set".to_owned()));
    let device = format!("{:?}", manifest.device).to_lowercase();
    let rows = [
        Some(("machine", manifest.host.clone())),
        Some(("ranks", format!("{} on {device}", manifest.world_size))),
        Some(("libtorch", manifest.libtorch.clone())),
        Some(("commit", manifest.commit.clone().unwrap_or("unknown".into()))),
        Some(("program", format!("sha256 {}", manifest.program.sha256))),
        Some(("images", images)),
        kind,
        Some(("folder", data.path.display().to_string())),
        Some(("list of images", format!("sha256 {}", data.listing_sha256))),
        store,
        Some(("started", manifest.started.clone())),
        Some(("command", manifest.argv.join(" "))),
    ];
    rows.into_iter()
        .flatten()
        .map(|(name, value)| vec![text(name), html! { code { (value) } }])
        .collect()
}

fn description_rows(description: &serde_json::Map<String, Value>) -> Vec<Vec<Markup>> {
    let first = FIRST_MEMBERS.iter().filter_map(|name| description.get_key_value(*name));
    let others = description.iter().filter(|(name, _)| !FIRST_MEMBERS.contains(&&***name));
    let words = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows = first.chain(others).map(|(name, value)| (name.replace('_', " "), words(value)));
    let rows = rows.filter(|(_, value)| !value.trim().is_empty());
    rows.map(|(name, value)| vec![text(name), text(value)]).collect()
}
