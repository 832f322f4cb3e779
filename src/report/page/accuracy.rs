//! Accuracy over minutes and epochs, with published systems where they can be compared.

use maud::{Markup, html};

use super::{
    colour, optional,
    tables::{Column, table, text},
    trimmed,
};
use crate::{
    console::percent,
    report::{
        Comparison,
        chart::{Caption, LineChart, PUBLISHED, Point, Series},
        epochs::EvalPoint,
        published::{PublishedSystem, published},
        run::RunFigures,
        system::SystemFigures,
    },
};

const PLOT_HEIGHT: f64 = 220.0;

/// Accuracy over minutes and over epochs.
pub(super) fn section(comparison: &Comparison) -> Markup {
    let systems = shown_published(comparison);
    let by_minutes = accuracy_chart(comparison, &systems, &|point| point.minutes, 1);
    let by_epochs = accuracy_chart(comparison, &systems, &|point| Some(point.epoch), 0);
    html! {
        section {
            h2 { "Accuracy" }
            div.charts { (by_minutes) (by_epochs) }
            (accuracy_table(comparison))
            @if !systems.is_empty() {
                details {
                    summary { "Numbers of the published systems" }
                    @for system in &systems { (published_table(system)) }
                }
            }
        }
    }
}

/// Published systems, unless one of the compared systems is the same.
fn shown_published(comparison: &Comparison) -> Vec<PublishedSystem> {
    if !comparison.is_imagenet() {
        return Vec::new();
    }
    let is_own = |published: &PublishedSystem| {
        comparison.systems.iter().any(|system| system.name == published.system)
    };
    published().into_iter().filter(|system| !is_own(system)).collect()
}

/// `column` is the place of a published point's x.
fn accuracy_chart(
    comparison: &Comparison,
    systems: &[PublishedSystem],
    x: &dyn Fn(&EvalPoint) -> Option<f64>,
    column: usize,
) -> Markup {
    let (id, x_title, title) = match column {
        0 => ("accuracy-epochs", "epochs", "Accuracy over epochs"),
        _ => ("accuracy-minutes", "minutes since run_start", "Accuracy over minutes"),
    };
    let column = usize::from(column == 1);
    let mut series: Vec<_> =
        systems.iter().map(|system| published_series(system, column)).collect();
    let mut end = 0.0f64;
    for (index, system) in comparison.systems.iter().enumerate() {
        let longest = longest_curve(system);
        for (at, run) in system.runs.iter().enumerate() {
            let point = |eval: &EvalPoint| {
                let (x, accuracy) = (x(eval)?, percent(eval.accuracy, 2));
                let hint = format!(
                    "{} {}: {accuracy} at {} {x_title}",
                    system.label,
                    run.name,
                    trimmed(x, 2)
                );
                Some(Point { x, y: 100.0 * eval.accuracy, hint })
            };
            let points: Vec<Point> = run.curve.iter().filter_map(point).collect();
            end = points.iter().map(|point| point.x).fold(end, f64::max);
            series.push(Series {
                label: if Some(at) == longest { system.label.clone() } else { String::new() },
                class: colour(index).to_owned(),
                points,
                is_stepped: false,
            });
        }
    }
    if comparison.systems.len() == 1 && systems.is_empty() {
        for series in &mut series {
            series.label.clear();
        }
    }
    let published_ends = systems.iter().filter_map(|system| Some(system.points.last()?[column]));
    let x_end = published_ends.filter(|it| *it <= 1.6 * end).fold(end, f64::max);
    let target = comparison.systems[0].target();
    let caption = Caption { id, title, description: accuracy_description(comparison, x_title) };
    let chart = LineChart {
        caption,
        x_title,
        y_title: "top-1 accuracy, %",
        series,
        target: Some((100.0 * target, format!("target {}", percent(target, 2)))),
        low: None,
        counts: column == 0,
        x_end: (x_end > 0.0).then_some(x_end),
        height: PLOT_HEIGHT,
    };
    chart.draw()
}

/// The run whose curve a label names: the one with the most points.
fn longest_curve(system: &SystemFigures) -> Option<usize> {
    let lengths = system.runs.iter().map(|run| run.curve.len()).enumerate();
    lengths.filter(|(_, length)| *length > 0).max_by_key(|(_, length)| *length).map(|(at, _)| at)
}

fn accuracy_description(comparison: &Comparison, x_title: &str) -> String {
    let runs = comparison.systems.iter().flat_map(|system| {
        system.runs.iter().map(move |run| {
            let last = run.curve.last();
            let accuracy = optional(last, |point| percent(point.accuracy, 2));
            format!("{} {} ends at {accuracy}", system.label, run.name)
        })
    });
    let runs: Vec<_> = runs.collect();
    format!("Top-1 accuracy over {x_title}, a line for each run: {}.", runs.join("; "))
}

fn published_series(system: &PublishedSystem, column: usize) -> Series {
    let point = |[epoch, minutes, accuracy]: &[f64; 3]| Point {
        x: [*epoch, *minutes][column],
        y: 100.0 * accuracy,
        hint: format!("{}: {} after epoch {epoch}", system.label, percent(*accuracy, 2)),
    };
    Series {
        label: system.label.clone(),
        class: PUBLISHED.to_owned(),
        points: system.points.iter().map(point).collect(),
        is_stepped: false,
    }
}

fn published_table(system: &PublishedSystem) -> Markup {
    let columns = ["epoch", "minutes", "accuracy"].map(Column::numbers);
    let row = |[epoch, minutes, accuracy]: &[f64; 3]| {
        vec![text(trimmed(*epoch, 0)), text(format!("{minutes:.2}")), text(percent(*accuracy, 2))]
    };
    let rows: Vec<_> = system.points.iter().map(row).collect();
    let PublishedSystem { label, submitter, round, system: name, accelerators, num_runs, .. } =
        system;
    html! {
        h3 { (label) }
        p.soft { (format!("{submitter} {round}, {name}, {accelerators}; mean of {num_runs} runs")) }
        (table(label, &columns, &rows, &[]))
    }
}

/// The accuracy of every evaluation, a column for each run.
fn accuracy_table(comparison: &Comparison) -> Markup {
    html! {
        details {
            summary { "Numbers" }
            @for system in &comparison.systems {
                @let runs: Vec<_> = system.runs.iter().filter(|run| !run.curve.is_empty()).collect();
                @if !runs.is_empty() {
                    @if comparison.systems.len() > 1 { h3 { (system.label) } }
                    (curve_table(system, &runs))
                }
            }
        }
    }
}

fn curve_table(system: &SystemFigures, runs: &[&RunFigures]) -> Markup {
    let mut columns = vec![Column::numbers("epoch")];
    for run in runs {
        columns.push(Column::numbers(format!("{} min", run.name)));
        columns.push(Column::numbers("accuracy"));
    }
    let mut positions: Vec<f64> =
        runs.iter().flat_map(|run| run.curve.iter().map(|point| point.epoch)).collect();
    positions.sort_by(f64::total_cmp);
    positions.dedup();
    let row = |epoch: &f64| {
        let mut cells = vec![text(trimmed(*epoch, 2))];
        for run in runs {
            let point = run.curve.iter().find(|point| point.epoch.total_cmp(epoch).is_eq());
            let minutes = point.and_then(|point| point.minutes);
            cells.push(text(optional(minutes, |it| format!("{it:.2}"))));
            cells.push(text(optional(point, |it| percent(it.accuracy, 2))));
        }
        cells
    };
    let rows: Vec<_> = positions.iter().map(row).collect();
    table(&format!("Accuracy of {}", system.label), &columns, &rows, &[])
}
