//! The table that the reference summarizer exports as CSV, with its columns, one row per system.

use serde_json::{Map, Value};

use super::benchmark::of_round;
use super::layout::LayoutError;
use super::score::SystemScore;
use crate::compliance::Ruleset;

/// Columns from the system's description.
const SYSTEM: [&str; 12] = [
    "division",
    "availability",
    "submitter",
    "system",
    "number_of_nodes",
    "host_processor_model_name",
    "host_processors_count",
    "accelerator_model_name",
    "accelerators_count",
    "framework",
    "notes",
    "private_id",
];

/// Column names: the system, the round's benchmarks, links.
pub fn summary_columns(ruleset: Ruleset) -> Vec<&'static str> {
    [&SYSTEM, &of_round(ruleset)[..], &["details_url", "code_url"]].concat()
}

/// The row of one system from its scores in all benchmarks, of which there is at least one. A field
/// that the description lacks leaves its cell empty. The minutes are the olympic mean, as the
/// summarizer writes them for a folder without `scaling.json`.
pub fn summary_row(scores: &[SystemScore]) -> Result<Vec<String>, LayoutError> {
    let score = &scores[0];
    let members = score.results.read_description()?.unwrap_or_default();
    let cell = |column: &&str| match *column {
        "division" => score.division.clone().unwrap_or_default(),
        "submitter" => score.submitter.clone().unwrap_or_default(),
        "details_url" => {
            format!("{}/systems/{}.json", url(score, "main"), score.results.system)
        }
        "code_url" => format!("{}/benchmarks", url(score, "master")),
        column => match scores.iter().find(|score| score.benchmark == column) {
            Some(score) => score.olympic_minutes.map(|it| it.to_string()).unwrap_or_default(),
            None => described(&members, column),
        },
    };
    Ok(summary_columns(score.ruleset).iter().map(cell).collect())
}

fn described(members: &Map<String, Value>, column: &str) -> String {
    let member = |name: &str| members.get(name).map(text).unwrap_or_default();
    let count = |name: &str| member(name).parse::<f64>().ok();
    let product = |name: &str| {
        let product = count(name)? * count("number_of_nodes")?;
        Some(product.to_string())
    };
    match column {
        "availability" => member("status"),
        "system" => member("system_name"),
        "host_processors_count" => product("host_processors_per_node").unwrap_or_default(),
        "accelerators_count" => product("accelerators_per_node").unwrap_or_default(),
        "notes" => {
            let notes = [member("hw_notes"), member("sw_notes")];
            notes.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(";")
        }
        "number_of_nodes"
        | "host_processor_model_name"
        | "accelerator_model_name"
        | "framework" => member(column),
        _ => String::new(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where `MLCommons` publishes the submitter's folder.
fn url(score: &SystemScore, branch: &str) -> String {
    let round = score.ruleset.as_str().trim_end_matches(".0");
    // 2.0.0 is round v2.0, 2.1.0 is v2.1.
    let round = if round.contains('.') { round.to_owned() } else { format!("{round}.0") };
    let submitter = score.submitter.as_deref().unwrap_or_default();
    format!("https://github.com/mlcommons/training_results_v{round}/blob/{branch}/{submitter}")
}
