//! The runs of each system, side by side.

use maud::{Markup, html};

use super::{
    NONE, colour, optional,
    tables::{Column, table, text},
    time, trimmed,
};
use crate::{
    compliance::Report,
    console::{grouped, percent},
    report::{
        Comparison, Headline,
        chart::{Caption, Dot, DotChart, DotRow, PUBLISHED},
        run::RunFigures,
        system::SystemFigures,
    },
    submission::{Leader, leaders, num_dropped},
};

/// Means over the runs of a system.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Means {
    /// Last accuracy.
    pub(super) accuracy: Option<f64>,
    pub(super) epochs: Option<f64>,
    pub(super) images_per_s: Option<f64>,
    pub(super) data_wait: Option<f64>,
}

impl Means {
    /// Of the runs that reached the target, otherwise of all.
    pub(super) fn of(system: &SystemFigures) -> Self {
        let any = system.runs.iter().any(RunFigures::succeeded);
        let runs = || system.runs.iter().filter(|run| !any || run.succeeded());
        Self {
            accuracy: mean(runs().filter_map(RunFigures::accuracy)),
            epochs: mean(runs().map(|run| run.num_epochs() as f64)),
            images_per_s: mean(runs().filter_map(RunFigures::images_per_s)),
            data_wait: mean(runs().filter_map(RunFigures::data_wait)),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, num) = values.fold((0.0, 0), |(sum, num), value| (sum + value, num + 1));
    (num > 0).then(|| sum / f64::from(num))
}

/// How many logs the check accepts, as `4 of 5`.
pub(super) fn accepted(system: &SystemFigures) -> String {
    let num_accepted = system.runs.iter().filter(|run| is_accepted(run) == Some(true)).count();
    format!("{num_accepted} of {}", system.runs.len())
}

fn is_accepted(run: &RunFigures) -> Option<bool> {
    run.report.as_ref().map(Report::reference_accepts)
}

/// A line for each system, if there are several.
pub(super) fn systems(comparison: &Comparison) -> Markup {
    if comparison.systems.len() < 2 {
        return html! {};
    }
    let score = |system: &SystemFigures| system.score.as_ref().and_then(|it| it.scaled_minutes);
    let is_scaled =
        |system: &SystemFigures| system.score.as_ref().is_some_and(|score| score.scaling() > 1.0);
    let row = |(index, system): (usize, &SystemFigures)| {
        let headline = Headline::of(system);
        let means = Means::of(system);
        let division = system.score.as_ref().and_then(|score| score.division.as_deref());
        vec![
            html! { b class=(format!("system {}", colour(index))) { (system.label) } },
            text(system.submitter().unwrap_or(NONE)),
            text(division.unwrap_or(NONE)),
            text(system.runs.len().to_string()),
            text(optional(headline, |it| format!("{:.2}", it.minutes))),
            text(headline.map_or(NONE, |it| it.kind.as_str())),
            text(optional(score(system), |it| format!("{it:.2}"))),
            text(optional(means.accuracy, |it| percent(it, 2))),
            text(optional(means.epochs, |it| trimmed(it, 1))),
            text(optional(means.images_per_s, grouped)),
            text(optional(means.data_wait, |it| percent(it, 1))),
            text(accepted(system)),
        ]
    };
    let columns = [
        Column::words("system"),
        Column::words("submitter"),
        Column::words("division"),
        Column::numbers("runs"),
        Column::numbers("minutes"),
        Column::words(""),
        Column::numbers("scaled"),
        Column::numbers("accuracy"),
        Column::numbers("epochs"),
        Column::numbers("images/s"),
        Column::numbers("data wait"),
        Column::numbers("accepted"),
    ];
    let any = |test: &dyn Fn(&SystemFigures) -> bool| comparison.systems.iter().any(test);
    let is_shown = [
        (1, any(&|system| system.submitter().is_some())),
        (6, any(&is_scaled)),
        (10, any(&|system| Means::of(system).data_wait.is_some())),
    ];
    let keep = |at: usize| is_shown.iter().all(|(column, shown)| *column != at || *shown);
    let rows = comparison.systems.iter().enumerate().map(row).map(|row| kept(row, keep));
    html! {
        section {
            h2 { "Systems" }
            (table("Systems", &kept(columns, keep), &rows.collect::<Vec<_>>(), &[]))
        }
    }
}

/// The items at the places that `keep` accepts.
fn kept<T>(items: impl IntoIterator<Item = T>, keep: impl Fn(usize) -> bool) -> Vec<T> {
    items.into_iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, item)| item).collect()
}

/// The runs of each system, their minutes, and where the time went.
pub(super) fn section(comparison: &Comparison) -> Markup {
    html! {
        section {
            h2 { "Runs" }
            div.charts { (minutes(comparison)) (time::figure(comparison)) }
            @for (index, system) in comparison.systems.iter().enumerate() {
                @if comparison.systems.len() > 1 { h3 { b class=(format!("system {}", colour(index))) { (system.label) } } }
                (runs(system))
                @if system.runs.len() > 1 {
                    @for problem in system.score.iter().flat_map(|score| &score.problems) {
                        p.soft { (problem) }
                    }
                }
                @for run in &system.runs {
                    @if let Some(failure) = &run.failure { p.bad { (run.name) ": " (failure) } }
                }
            }
            (time::notes(comparison))
            details {
                summary { "Numbers of where the time went" }
                (time::numbers(comparison))
            }
        }
    }
}

/// The runs of a system, and its result below them.
fn runs(system: &SystemFigures) -> Markup {
    let columns = [
        Column::words("run"),
        Column::numbers("minutes"),
        Column::numbers("accuracy"),
        Column::numbers("epochs"),
        Column::numbers("images/s"),
        Column::numbers("data wait"),
        Column::numbers("batch"),
        Column::words("seed"),
        Column::words("ended"),
        Column::words("log"),
        Column::words("counts"),
    ];
    let counts = counts(system);
    let row = |(run, counts): (&RunFigures, &&str)| {
        let batch_size = run.report.as_ref().and_then(|report| report.batch_size);
        vec![
            text(&run.name),
            text(optional(run.minutes(), |it| format!("{it:.2}"))),
            text(optional(run.accuracy(), |it| percent(it, 2))),
            text(run.num_epochs().to_string()),
            text(optional(run.images_per_s(), grouped)),
            text(optional(run.data_wait(), |it| percent(it, 1))),
            text(optional(batch_size, grouped)),
            text(optional(run.seed(), |it| it)),
            text(run.ending()),
            verdict(run),
            text(counts),
        ]
    };
    let rows: Vec<_> = system.runs.iter().zip(&counts).map(row).collect();
    let sums: Vec<_> = Headline::of(system)
        .filter(|_| system.runs.len() > 1)
        .map(|it| {
            let minutes = text(format!("{:.2}", it.minutes));
            vec![text(it.kind.as_str()), minutes, text(percent(it.accuracy, 2))]
        })
        .into_iter()
        .collect();
    table(&format!("Runs of {}", system.label), &columns, &rows, &sums)
}

fn verdict(run: &RunFigures) -> Markup {
    match is_accepted(run) {
        None => text("none"),
        Some(true) => html! { span.good { "accepted" } },
        Some(false) => html! { span.bad { "rejected" } },
    }
}

/// Which runs count for the olympic mean.
fn counts(system: &SystemFigures) -> Vec<&'static str> {
    let Some(score) = &system.score else { return vec![NONE; system.runs.len()] };
    let logged = |run: &RunFigures| {
        let path = &run.report.as_ref()?.path;
        score.runs.iter().find(|scored| scored.file == *path)
    };
    let minutes: Vec<Option<f64>> = system
        .runs
        .iter()
        .map(|run| logged(run).filter(|it| it.compliant).and_then(|it| it.minutes))
        .collect();
    let num_failed = score.runs.iter().filter(|it| !it.compliant || it.minutes.is_none()).count();
    let mut order: Vec<usize> = (0..minutes.len()).filter(|at| minutes[*at].is_some()).collect();
    order.sort_by(|a, b| minutes[*a].unwrap_or(0.0).total_cmp(&minutes[*b].unwrap_or(0.0)));
    let num_dropped = num_dropped(&score.benchmark);
    let mut words = vec!["no"; minutes.len()];
    let num_slow = num_dropped.saturating_sub(num_failed);
    for (place, at) in order.iter().enumerate() {
        let is_mean = score.olympic_minutes.is_some();
        words[*at] = if is_mean && place < num_dropped {
            "fastest, dropped"
        } else if is_mean && place + num_slow >= order.len() {
            "slowest, dropped"
        } else {
            "yes"
        };
    }
    words
}

/// Minutes of all runs, with published results where they can be compared.
fn minutes(comparison: &Comparison) -> Markup {
    let mut rows: Vec<DotRow> = Vec::new();
    for (index, system) in comparison.systems.iter().enumerate() {
        let counts = counts(system);
        let dots = system.runs.iter().zip(&counts).filter_map(|(run, counts)| {
            let minutes = run.minutes()?;
            let hint =
                format!("{}: {minutes:.2} min, {}, counts: {counts}", run.name, run.ending());
            Some(Dot { minutes, counts: *counts == "yes", hint })
        });
        let mean = Headline::of(system)
            .map(|it| (it.minutes, format!("{:.2} min, {}", it.minutes, it.kind.as_str())));
        let class = colour(index).to_owned();
        rows.push(DotRow { label: system.label.clone(), class, dots: dots.collect(), mean });
    }
    let own: Vec<_> = comparison.systems.iter().map(|system| system.name.clone()).collect();
    let mut others = published(comparison);
    others.sort_by(|a, b| a.olympic_minutes.total_cmp(&b.olympic_minutes));
    rows.extend(others.into_iter().filter(|it| !own.contains(&it.system)).map(|leader| DotRow {
        label: format!("{} {}, {}", leader.submitter, leader.round, leader.accelerator),
        class: PUBLISHED.to_owned(),
        dots: Vec::new(),
        mean: Some((leader.olympic_minutes, format!("{:.2} min", leader.olympic_minutes))),
    }));
    let num_dots: usize =
        rows.iter().map(|row| row.dots.len() + usize::from(row.dots.is_empty())).sum();
    if num_dots < 2 {
        return html! {};
    }
    let caption = Caption {
        id: "minutes",
        title: "Minutes to the target",
        description:
            "A dot for each run; a ring for a run that does not count for the mean; a bar at \
                      the mean. The numbers are in the table of runs."
                .to_owned(),
    };
    DotChart { caption, x_title: "minutes", rows }.draw()
}

/// Published results on eight accelerators: the fastest of each division, and the open ones.
fn published(comparison: &Comparison) -> Vec<Leader> {
    if !comparison.is_imagenet() {
        return Vec::new();
    }
    let mut shown: Vec<Leader> = Vec::new();
    for leader in leaders("resnet").into_iter().filter(|it| it.num_accelerators == 8) {
        let known =
            |it: &Leader| it.accelerator == leader.accelerator && it.division == leader.division;
        if !shown.iter().any(known) && leader.olympic_minutes < 30.0 {
            shown.push(leader);
        }
    }
    shown.truncate(5);
    shown
}
