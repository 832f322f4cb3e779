//! Where the time of each run went.

use maud::{Markup, html};

use super::{
    NONE,
    tables::{Column, table, text},
};
use crate::{
    console::percent,
    report::{
        Comparison,
        chart::{Bar, BarChart, Caption},
        run::RunFigures,
        spent::Part,
    },
};

/// Bars of where the time went, with the names of the colours.
pub(super) fn figure(comparison: &Comparison) -> Markup {
    let mut bars = Vec::new();
    for system in &comparison.systems {
        let mut group = (comparison.systems.len() > 1).then(|| system.label.clone());
        for run in &system.runs {
            let Some(time) = &run.time else { continue };
            let part = |part: Part| {
                let minutes = time.minutes(part);
                let hint = format!(
                    "{}: {minutes:.2} min, {}",
                    part.name(),
                    percent(minutes / time.total(), 1)
                );
                (part.class(), minutes, hint)
            };
            bars.push(Bar {
                group: group.take(),
                name: run.name.clone(),
                parts: Part::ALL.map(part).to_vec(),
                total: format!("{:.2} min", time.total()),
            });
        }
    }
    if bars.is_empty() {
        return html! {};
    }
    let caption = Caption {
        id: "time",
        title: "Where the time went",
        description:
            "A bar for each run, split into the parts of its time. The numbers are in the \
                      table of minutes by part."
                .to_owned(),
    };
    html! {
        div {
            (BarChart { caption, x_title: "minutes since run_start", bars }.draw())
            ul.legend { @for part in shown(comparison) { li { i class=(format!("key {}", part.class())) {} (part.name()) } } }
        }
    }
}

/// What the parts mean.
pub(super) fn notes(comparison: &Comparison) -> Markup {
    let runs = || comparison.systems.iter().flat_map(|system| &system.runs);
    let knows = |run: &RunFigures| run.time.as_ref().is_some_and(|time| time.knows_waits);
    let verdicts = comparison.systems.iter().flat_map(|system| {
        system.runs.iter().filter_map(move |run| {
            Some((system, run, run.summary.as_ref()?.data_verdict.as_ref()?))
        })
    });
    html! {
        p.soft {
            "The first epoch stands apart because it may read from a cold disk. Training includes the \
             all-reduce, which is not measured by itself. Gaps are what lies outside epochs and \
             evaluations. "
            @if runs().any(knows) { "Waits and copies are those of rank 0 after the first epoch. " }
            @if !runs().all(knows) {
                "Logs of other programs do not say how long a run waited for data; there, training \
                 includes it."
            }
        }
        @for (system, run, verdict) in verdicts {
            p { (system.label) " " (run.name) " " (verdict) }
        }
    }
}

fn shown(comparison: &Comparison) -> Vec<Part> {
    Part::ALL.into_iter().filter(|part| is_shown(comparison, *part)).collect()
}

/// Parts of which some run has any, and those that tell by their absence.
fn is_shown(comparison: &Comparison, part: Part) -> bool {
    let mut runs = comparison.systems.iter().flat_map(|system| &system.runs);
    runs.any(|run| {
        let Some(time) = &run.time else { return false };
        time.minutes(part) > 0.0 || (part == Part::DataWait && time.knows_waits)
    })
}

/// The numbers of the bars.
pub(super) fn numbers(comparison: &Comparison) -> Markup {
    let shown = shown(comparison);
    let mut columns = vec![Column::words("system"), Column::words("run")];
    columns.extend(shown.iter().map(|part| Column::numbers(part.name())));
    columns.push(Column::numbers("minutes"));
    let mut rows = Vec::new();
    for system in &comparison.systems {
        for run in &system.runs {
            let Some(time) = &run.time else { continue };
            let mut row = vec![text(&system.label), text(&run.name)];
            row.extend(shown.iter().map(|part| {
                let is_unknown = matches!(part, Part::DataWait | Part::Copy) && !time.knows_waits;
                text(if is_unknown {
                    NONE.to_owned()
                } else {
                    format!("{:.2}", time.minutes(*part))
                })
            }));
            row.push(text(format!("{:.2}", time.total())));
            rows.push(row);
        }
    }
    table("Minutes by part", &columns, &rows, &[])
}
