//! Line charts with direct labels.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{
    Caption, WIDTH, figure,
    label::{self, Label},
    scale::Scale,
    unit,
};

/// A line chart.
#[derive(Clone, Debug)]
pub(in super::super) struct LineChart<'a> {
    pub(in super::super) caption: Caption<'a>,
    /// What lies on the horizontal axis, with its unit.
    pub(in super::super) x_title: &'a str,
    /// What lies on the vertical axis, with its unit.
    pub(in super::super) y_title: &'a str,
    /// The lines. Earlier ones lie below.
    pub(in super::super) series: Vec<Series>,
    /// A value to reach, and its name.
    pub(in super::super) target: Option<(f64, String)>,
    /// The least value that the vertical axis shows; `None`: that of the lines.
    pub(in super::super) low: Option<f64>,
    /// Whether the horizontal axis counts whole things.
    pub(in super::super) counts: bool,
    /// The end of the horizontal axis, at which longer lines are cut; `None`: that of the lines.
    pub(in super::super) x_end: Option<f64>,
    /// Height of the plot.
    pub(in super::super) height: f64,
}

/// One line.
#[derive(Clone, Debug)]
pub(in super::super) struct Series {
    /// Written at its end; empty: no label.
    pub(in super::super) label: String,
    /// The class of its colour.
    pub(in super::super) class: String,
    pub(in super::super) points: Vec<Point>,
    /// Whether values hold until the next one.
    pub(in super::super) is_stepped: bool,
}

/// A point of a line.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Point {
    pub(in super::super) x: f64,
    pub(in super::super) y: f64,
    /// What it says where a pointer rests on it.
    pub(in super::super) hint: String,
}

/// The class of published results, which are lines without marks.
pub(in super::super) const PUBLISHED: &str = "published";

/// With more points than this, marks would hide the lines.
const MOST_DOTS: usize = 150;

impl LineChart<'_> {
    /// The chart as a figure; nothing if it has no points.
    pub(in super::super) fn draw(&self) -> Markup {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let Some(first) = points().next() else { return html! {} };
        let (left, top) = (48.0, 26.0);
        let end = points().map(|point| point.x).fold(first.x, f64::max);
        let end = self.x_end.unwrap_or(end);
        let right = WIDTH - label::margin(&self.series, end);
        let x = Scale::exact([0.0, end], 5, [left, right]);
        let x = if self.counts { x.whole() } else { x };
        let series: Vec<_> = self.series.iter().map(|series| cut(series, x.high())).collect();
        let values = || {
            let ys = series.iter().flat_map(|series| &series.points).map(|point| point.y);
            ys.chain(self.target.as_ref().map(|(value, _)| *value))
        };
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        let bottom = top + self.height;
        let y = Scale::round([self.low.unwrap_or(low), high], 4, [bottom, top]);
        let has_dots = points().count() <= MOST_DOTS;
        let target = self.target.as_ref().map(|(value, name)| Label {
            text: name.clone(),
            class: "small".to_owned(),
            x: left + 4.0,
            y: y.at(*value) - 6.0,
            anchor: "start",
        });
        let drawing = html! {
            (axes(&x, &y, (self.x_title, self.y_title)))
            @if let Some(Label { text, x: at_x, y: at_y, .. }) = &target {
                line.target x1=(unit(left)) x2=(unit(right)) y1=(unit(at_y + 6.0)) y2=(unit(at_y + 6.0)) {}
                text.small x=(unit(*at_x)) y=(unit(*at_y)) { (text) }
            }
            @for series in &series {
                g class=(series.class) {
                    path.line d=(path(series, &x, &y)) {}
                    @if has_dots && series.class != PUBLISHED {
                        @for point in &series.points {
                            circle.dot cx=(unit(x.at(point.x))) cy=(unit(y.at(point.y))) r="2.8" {
                                title { (point.hint) }
                            }
                        }
                    }
                }
            }
            @for label in label::placed(&series, (&x, &y), target.as_ref()) {
                text class=(format!("label {} {}", label.anchor, label.class)) x=(unit(label.x)) y=(unit(label.y)) {
                    (label.text)
                }
            }
        };
        figure(&self.caption, bottom + 42.0, &drawing)
    }
}

/// Grid, ticks and titles.
fn axes(x: &Scale, y: &Scale, (x_title, y_title): (&str, &str)) -> Markup {
    let [left, right] = [x.at(0.0), x.at(x.high())];
    let ticks = y.ticks();
    let bottom = ticks.first().map_or(0.0, |(value, _)| y.at(*value));
    html! {
        text.small x="0" y="12" { (y_title) }
        @for (value, text) in &ticks {
            line.grid x1=(unit(left)) x2=(unit(right)) y1=(unit(y.at(*value))) y2=(unit(y.at(*value))) {}
            text.tick.end x=(unit(left - 7.0)) y=(unit(y.at(*value) + 4.5)) { (text) }
        }
        line.axis x1=(unit(left)) x2=(unit(right)) y1=(unit(bottom)) y2=(unit(bottom)) {}
        @for (value, text) in x.ticks() {
            line.axis x1=(unit(x.at(value))) x2=(unit(x.at(value))) y1=(unit(bottom)) y2=(unit(bottom + 4.0)) {}
            text.tick.middle x=(unit(x.at(value))) y=(unit(bottom + 18.0)) { (text) }
        }
        text.small.middle x=(unit(f64::midpoint(left, right))) y=(unit(bottom + 36.0)) { (x_title) }
    }
}

/// The part of a line up to `x_end`. A line that goes on ends between two points.
fn cut(series: &Series, x_end: f64) -> Series {
    let num_kept = series.points.iter().take_while(|point| point.x <= x_end * (1.0 + 1e-9)).count();
    let mut points = series.points[..num_kept].to_vec();
    if let (Some(last), Some(next)) = (points.last(), series.points.get(num_kept)) {
        let share = (x_end - last.x) / (next.x - last.x);
        let hint = format!("{}, goes on", series.label);
        if share > 0.0 && !series.is_stepped {
            let y = last.y + share * (next.y - last.y);
            points.push(Point { x: x_end, y, hint });
        }
    }
    Series { points, ..series.clone() }
}

fn path(series: &Series, x: &Scale, y: &Scale) -> String {
    let mut text = String::new();
    for (i, point) in series.points.iter().enumerate() {
        let (at_x, at_y) = (unit(x.at(point.x)), unit(y.at(point.y)));
        let written = match i {
            0 => write!(text, "M{at_x} {at_y}"),
            _ if series.is_stepped => write!(text, "H{at_x}V{at_y}"),
            _ => write!(text, "L{at_x} {at_y}"),
        };
        written.expect("writing to a string succeeds");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(f64, f64)]) -> Series {
        let point = |(x, y): &(f64, f64)| Point { x: *x, y: *y, hint: format!("{y}") };
        Series {
            label: "a system".to_owned(),
            class: "c1".to_owned(),
            points: points.iter().map(point).collect(),
            is_stepped: false,
        }
    }

    fn chart(series: Vec<Series>) -> LineChart<'static> {
        let caption = Caption { id: "x", title: "Accuracy", description: "rises".to_owned() };
        LineChart {
            caption,
            x_title: "minutes",
            y_title: "accuracy, %",
            series,
            target: Some((75.9, "target".to_owned())),
            low: None,
            counts: false,
            x_end: None,
            height: 200.0,
        }
    }

    #[test]
    fn every_point_is_a_mark_with_its_value() {
        let text =
            chart(vec![series(&[(1.0, 50.0), (2.0, 70.0), (3.0, 76.0)])]).draw().into_string();
        assert_eq!(text.matches("<circle").count(), 3, "{text}");
        assert!(text.contains("<title>70</title>") && text.contains("a system</text>"), "{text}");
        assert!(
            text.contains("role=\"img\"") && text.contains("aria-labelledby=\"x-title x-desc\"")
        );
    }

    #[test]
    fn a_line_that_goes_on_is_cut_at_the_end_of_the_axis() {
        let cut = cut(&series(&[(0.0, 0.0), (10.0, 50.0), (20.0, 70.0)]), 15.0);
        let places: Vec<_> = cut.points.iter().map(|point| (point.x, point.y)).collect();
        assert_eq!(places, [(0.0, 0.0), (10.0, 50.0), (15.0, 60.0)]);
    }

    #[test]
    fn no_points_are_no_chart() {
        assert_eq!(chart(vec![series(&[])]).draw().into_string(), "");
    }
}
