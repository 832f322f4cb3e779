//! The page: sections of charts and tables.

mod accuracy;
mod by_epoch;
mod runs;
mod setup;
mod tables;
mod time;

pub(super) use tables::{Column, table, text};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Comparison, Headline, chart::COLOURS, headline::title, system::SystemFigures};
use crate::{
    console::{counted, grouped, percent},
    mlperf::{COMPARED, LEGEND, UNVERIFIED},
};

/// An absent value.
const NONE: &str = "\u{2013}";

/// The page as HTML.
pub fn page(comparison: &Comparison) -> String {
    let title = title(comparison);
    let body = html! {
        (header(comparison, &title))
        main {
            (runs::systems(comparison))
            (accuracy::section(comparison))
            (runs::section(comparison))
            (by_epoch::section(comparison))
            (setup::findings(comparison))
            (setup::recipes(comparison))
            (setup::systems(comparison))
        }
        (footer(comparison))
    };
    document(&title, &body)
}

/// A page of its own. It needs no network and no script.
pub(super) fn document(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(concat!("mlperf-run ", env!("CARGO_PKG_VERSION")));
                // Browsers ask for an icon otherwise.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { (body) }
        }
    }
    .into_string()
}

fn header(comparison: &Comparison, title: &str) -> Markup {
    html! {
        header {
            h1 { (title) }
            p.soft { (subtitle(comparison)) }
            @if let [system] = &comparison.systems[..] { (figures(system)) }
        }
    }
}

/// What was run where.
fn subtitle(comparison: &Comparison) -> String {
    let [system] = &comparison.systems[..] else {
        let runs = counted(comparison.num_runs(), "run");
        return format!("{runs} of {}. Unverified.", counted(comparison.systems.len(), "system"));
    };
    let mut parts = vec![system.label.clone()];
    parts.extend((system.name != system.label).then(|| format!("in {}", system.name)));
    parts.extend(system.submitter().map(|submitter| format!("by {submitter}")));
    let score = system.score.as_ref();
    parts.extend(score.and_then(|score| Some(format!("{} division", score.division.as_ref()?))));
    parts.extend(score.map(|score| format!("ruleset {}", score.ruleset)));
    format!("{}. Unverified.", parts.join(", "))
}

/// The most important numbers of one system.
fn figures(system: &SystemFigures) -> Markup {
    let headline = Headline::of(system);
    let minutes = headline.map(|it| (format!("minutes, {}", it.kind.as_str()), it.minutes));
    let means = runs::Means::of(system);
    let accepted = runs::accepted(system);
    html! {
        dl.figures {
            @if let Some((name, minutes)) = minutes {
                div { dt { (name) } dd { (format!("{minutes:.2}")) } }
            }
            @if let Some(accuracy) = means.accuracy {
                div { dt { "accuracy, target " (percent(system.target(), 2)) } dd { (percent(accuracy, 2)) } }
            }
            @if let Some(epochs) = means.epochs {
                div { dt { "epochs" } dd { (trimmed(epochs, 1)) } }
            }
            @if let Some(rate) = means.images_per_s {
                div { dt { "images/s" } dd { (grouped(rate)) } }
            }
            @if let Some(wait) = means.data_wait {
                div { dt { "waiting for data" } dd { (percent(wait, 1)) } }
            }
            div { dt { "logs accepted" } dd { (accepted) } }
        }
    }
}

fn footer(comparison: &Comparison) -> Markup {
    html! {
        footer {
            p { (UNVERIFIED) " " @if comparison.is_imagenet() { (COMPARED) " " } (LEGEND) }
            @if comparison.num_left_out > 0 {
                p { (counted(comparison.num_left_out, "log")) " of other benchmarks left out." }
            }
        }
    }
}

/// The class of a system's colour.
fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// A number without a fraction of zero.
fn trimmed(value: f64, decimals: usize) -> String {
    if value.fract().abs() < 1e-9 { format!("{value:.0}") } else { format!("{value:.decimals$}") }
}

/// The text of a value that may be absent.
pub(super) fn optional<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), text)
}

/// A learning rate with three significant digits.
fn learning_rate(value: f64) -> String {
    if value == 0.0 || value >= 0.01 { format!("{value:.3}") } else { format!("{value:.2e}") }
}
