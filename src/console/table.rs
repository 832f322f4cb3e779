//! The final table: one line per run, then the paths of their results.

use super::columns::{Column, aligned};
use super::numbers::{grouped, percent};
use crate::events::RunSummary;

/// The text of an empty cell.
const NONE: &str = "-";

/// The runs as aligned text, each compared with the first recipe's mean. Paths have lines of their
/// own, because with them the table would be wider than a terminal.
pub fn table(runs: &[RunSummary]) -> String {
    let results = runs.iter().filter_map(|run| run.result.as_ref());
    let paths = results.map(|path| format!("result: {}", path.display()));
    let lines: Vec<String> = std::iter::once(aligned(&columns(runs))).chain(paths).collect();
    lines.join("\n")
}

fn columns(runs: &[RunSummary]) -> Vec<Column> {
    let several_recipes = runs.iter().any(|run| run.recipe != runs[0].recipe);
    let any_skipped = runs.iter().any(|run| run.num_skipped > 0);
    let first = first_recipes_minutes(runs);
    let optional = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    let minutes = |run: &RunSummary| match (run.minutes_to_target(), run.minutes) {
        (Some(minutes), _) => format!("{minutes:.2}"),
        (None, Some(_)) => "not reached".to_owned(),
        (None, None) => NONE.to_owned(),
    };
    let speed_up = |run: &RunSummary| Some(format!("{:.2}x", first? / run.minutes_to_target()?));
    let mut columns = vec![
        Column::left("recipe", runs.iter().map(|run| run.recipe.clone())),
        Column::right("minutes to target", runs.iter().map(minutes)),
        Column::right("epochs", runs.iter().map(|run| run.num_epochs.to_string())),
        Column::right(
            "accuracy",
            runs.iter().map(|run| optional(run.accuracy.map(|a| percent(a, 2)))),
        ),
        Column::right("images/s", runs.iter().map(|run| optional(run.images_per_s.map(grouped)))),
        Column::right(
            "data wait",
            runs.iter().map(|run| optional(run.data_wait.map(|fraction| percent(fraction, 1)))),
        ),
    ];
    if any_skipped {
        let skipped = runs.iter().map(|run| run.num_skipped.to_string());
        columns.push(Column::right("skipped", skipped));
    }
    if several_recipes {
        let speed_ups = runs.iter().map(|run| optional(speed_up(run)));
        columns.push(Column::right("speed-up", speed_ups));
    }
    columns.push(Column::left("log check", runs.iter().map(verdict)));
    columns
}

/// Mean minutes to target over those runs of the first recipe that reached it.
fn first_recipes_minutes(runs: &[RunSummary]) -> Option<f64> {
    let of_first = runs.iter().filter(|run| run.recipe == runs[0].recipe);
    let minutes: Vec<f64> = of_first.filter_map(RunSummary::minutes_to_target).collect();
    (!minutes.is_empty()).then(|| minutes.iter().sum::<f64>() / minutes.len() as f64)
}

fn verdict(run: &RunSummary) -> String {
    match &run.log_check {
        None => NONE.to_owned(),
        Some(check) if check.accepted => format!("accepted ({})", check.ruleset),
        Some(check) => format!("rejected ({})", check.ruleset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{events::LogCheck, mlperf::RunStatus};

    fn run(recipe: &str, status: RunStatus, minutes: f64) -> RunSummary {
        RunSummary {
            status: Some(status),
            minutes: Some(minutes),
            num_epochs: 21,
            accuracy: Some(0.7631),
            images_per_s: Some(1812.3),
            data_wait: Some(0.003),
            log_check: Some(LogCheck {
                ruleset: "4.0.0".to_owned(),
                accepted: true,
                findings: Vec::new(),
            }),
            result: Some("results/box/resnet/result_0.txt".into()),
            ..RunSummary::new(recipe, 17)
        }
    }

    #[test]
    fn recipes_are_compared_with_the_first() {
        let runs = [
            run("demo/baseline", RunStatus::Success, 2.5),
            run("demo/optimized", RunStatus::Success, 1.25),
        ];
        let table = table(&runs);
        let cells = |line: &str| -> Vec<String> {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect()
        };
        let lines: Vec<Vec<String>> = table.lines().map(cells).collect();
        let titles = [
            "recipe",
            "minutes to target",
            "epochs",
            "accuracy",
            "images/s",
            "data wait",
            "speed-up",
            "log check",
        ];
        let first = [
            "demo/baseline",
            "2.50",
            "21",
            "76.31 %",
            "1 812",
            "0.3 %",
            "1.00x",
            "accepted (4.0.0)",
        ];
        assert_eq!(lines[0], titles);
        assert_eq!(lines[1], first);
        assert_eq!((lines[2][1].as_str(), lines[2][6].as_str()), ("1.25", "2.00x"));
        assert_eq!(lines[3], ["result: results/box/resnet/result_0.txt"]);
        assert!(table.lines().all(|line| line.len() <= 100), "{table}");
    }

    #[test]
    fn words_are_left_aligned_and_numbers_right_aligned() {
        let runs = [run("a", RunStatus::Success, 2.0), run("longer", RunStatus::Success, 10.0)];
        let table = table(&runs);
        let start = |line: usize, text: &str| table.lines().nth(line).unwrap().find(text).unwrap();
        let end = |line: usize, text: &str| start(line, text) + text.len();
        assert_eq!(start(1, "a "), start(2, "longer"));
        assert_eq!(start(0, "log check"), start(1, "accepted"));
        assert_eq!(end(0, "minutes to target"), end(1, "2.00"));
        assert_eq!(end(1, "2.00"), end(2, "10.00"));
    }

    #[test]
    fn one_recipe_needs_no_speed_up() {
        assert!(!table(&[run("demo", RunStatus::Success, 1.0)]).contains("speed-up"));
    }

    #[test]
    fn several_runs_are_compared_with_the_first_recipes_mean() {
        let runs = [
            run("a", RunStatus::Success, 2.0),
            run("a", RunStatus::Success, 4.0),
            run("a", RunStatus::Aborted, 9.0),
            run("b", RunStatus::Success, 1.5),
        ];
        let table = table(&runs);
        let last: Vec<&str> = table.lines().map(str::trim_end).collect();
        assert!(last[4].contains("2.00x") && last[2].contains("0.75x"), "{table}");
        assert!(last[3].contains("not reached"), "{table}");
    }

    #[test]
    fn skipped_images_show_when_there_are_any() {
        let mut skipping = run("demo", RunStatus::Success, 1.0);
        assert!(!table(std::slice::from_ref(&skipping)).contains("skipped"));
        skipping.num_skipped = 3;
        assert!(table(&[skipping]).contains("skipped"));
    }

    #[test]
    fn a_run_without_results_has_dashes() {
        let table = table(&[RunSummary::new("demo", 17)]);
        assert_eq!(table.lines().nth(1).unwrap().matches(" -").count(), 5, "{table}");
    }
}
