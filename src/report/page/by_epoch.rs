//! What is known about each epoch: speed, loss, size of images and learning rate.

use maud::{Markup, html};

use super::{
    NONE, colour, learning_rate, optional,
    tables::{Column, table, text},
};
use crate::{
    console::{grouped, percent},
    report::{
        Comparison,
        chart::{Caption, LineChart, Point, Series},
        epochs::EpochFigures,
    },
};

const PANEL_HEIGHT: f64 = 120.0;

/// A value of an epoch, with its title, unit and text.
struct Panel {
    id: &'static str,
    title: &'static str,
    y_title: &'static str,
    value: fn(&EpochFigures) -> Option<f64>,
    text: fn(f64) -> String,
    unit: &'static str,
    is_stepped: bool,
    /// Whether the axis starts at zero.
    from_zero: bool,
}

const PANELS: [Panel; 4] = [
    Panel {
        id: "rate",
        title: "Images per second",
        y_title: "images/s, without evaluations",
        value: |epoch| epoch.images_per_s,
        text: grouped,
        unit: "images/s",
        is_stepped: false,
        from_zero: true,
    },
    Panel {
        id: "loss",
        title: "Training loss",
        y_title: "mean of the epoch on rank 0",
        value: |epoch| epoch.loss,
        text: |loss| format!("{loss:.3}"),
        unit: "",
        is_stepped: false,
        from_zero: false,
    },
    Panel {
        id: "size",
        title: "Size of training images",
        y_title: "px",
        value: |epoch| epoch.image_size.map(|size| size as f64),
        text: |size| format!("{size:.0}"),
        unit: "px",
        is_stepped: true,
        from_zero: true,
    },
    Panel {
        id: "lr",
        title: "Learning rate",
        y_title: "at the end of the epoch",
        value: |epoch| epoch.learning_rate.map(|[_, last]| last),
        text: learning_rate,
        unit: "",
        is_stepped: false,
        from_zero: true,
    },
];

/// What is known about each epoch.
pub(super) fn section(comparison: &Comparison) -> Markup {
    let runs = || comparison.systems.iter().flat_map(|system| &system.runs);
    if runs().all(|run| run.epochs.is_empty()) {
        return html! {};
    }
    let (constant, drawn): (Vec<_>, Vec<_>) =
        PANELS.iter().partition(|panel| constant(comparison, panel).is_some());
    html! {
        section {
            h2 { "Epoch by epoch" }
            div.charts { @for panel in &drawn { (panel_chart(comparison, panel)) } }
            @for panel in &constant {
                @if let Some(value) = constant_text(comparison, panel) { p.soft { (value) } }
            }
            details {
                summary { "Numbers" }
                @for system in &comparison.systems {
                    @for run in system.runs.iter().filter(|run| !run.epochs.is_empty()) {
                        @let name = format!("{} {}", system.label, run.name);
                        h3 { (name) }
                        (epoch_table(&name, &run.epochs))
                    }
                }
            }
        }
    }
}

/// The value of a panel, if all epochs of all runs have the same, of which a chart would say little.
fn constant(comparison: &Comparison, panel: &Panel) -> Option<f64> {
    let epochs =
        comparison.systems.iter().flat_map(|system| &system.runs).flat_map(|run| &run.epochs);
    let mut values = epochs.filter_map(panel.value);
    let first = values.next()?;
    values.all(|value| value.to_bits() == first.to_bits()).then_some(first)
}

fn constant_text(comparison: &Comparison, panel: &Panel) -> Option<String> {
    let value = (panel.text)(constant(comparison, panel)?);
    Some(format!("{} in all epochs: {value} {}.", panel.title, panel.unit))
}

fn panel_chart(comparison: &Comparison, panel: &Panel) -> Markup {
    let mut series = Vec::new();
    for (index, system) in comparison.systems.iter().enumerate() {
        for (at, run) in system.runs.iter().enumerate() {
            let point = |epoch: &EpochFigures| {
                let (x, y) = (epoch.epoch as f64, (panel.value)(epoch)?);
                let hint = format!("{} {}, epoch {x}: {}", system.label, run.name, (panel.text)(y));
                Some(Point { x, y, hint })
            };
            series.push(Series {
                label: if at == 0 { system.label.clone() } else { String::new() },
                class: colour(index).to_owned(),
                points: run.epochs.iter().filter_map(point).collect(),
                is_stepped: panel.is_stepped,
            });
        }
    }
    if comparison.systems.len() == 1 {
        for series in &mut series {
            series.label.clear();
        }
    }
    let description =
        format!("{} by epoch, a line for each run. The numbers are in tables below.", panel.title);
    let chart = LineChart {
        caption: Caption { id: panel.id, title: panel.title, description },
        x_title: "epochs",
        y_title: panel.y_title,
        series,
        target: None,
        low: panel.from_zero.then_some(0.0),
        counts: true,
        x_end: None,
        height: PANEL_HEIGHT,
    };
    chart.draw()
}

fn epoch_table(name: &str, epochs: &[EpochFigures]) -> Markup {
    let columns = [
        "epoch",
        "ends at min",
        "seconds",
        "images/s",
        "px",
        "learning rate",
        "to",
        "loss",
        "data wait",
    ];
    let columns = columns.map(Column::numbers);
    let row = |epoch: &EpochFigures| {
        let [first, last] = match epoch.learning_rate {
            Some(rates) => rates.map(|rate| text(learning_rate(rate))),
            None => [text(NONE), text(NONE)],
        };
        vec![
            text(epoch.epoch.to_string()),
            text(optional(epoch.minutes, |it| format!("{it:.2}"))),
            text(optional(epoch.seconds, |it| format!("{it:.2}"))),
            text(optional(epoch.images_per_s, grouped)),
            text(optional(epoch.image_size, |it| it.to_string())),
            first,
            last,
            text(optional(epoch.loss, |it| format!("{it:.3}"))),
            text(optional(epoch.data_wait, |it| percent(it, 1))),
        ]
    };
    let rows: Vec<_> = epochs.iter().map(row).collect();
    table(name, &columns, &rows, &[])
}
