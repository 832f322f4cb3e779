//! Stacked bars of minutes.

use maud::{Markup, html};

use super::{Caption, WIDTH, figure, scale::Scale, unit};

/// One bar for each run.
#[derive(Clone, Debug)]
pub(in super::super) struct BarChart<'a> {
    pub(in super::super) caption: Caption<'a>,
    /// What the axis shows, with its unit.
    pub(in super::super) x_title: &'a str,
    pub(in super::super) bars: Vec<Bar>,
}

/// One bar.
#[derive(Clone, Debug)]
pub(in super::super) struct Bar {
    /// Written above the bar if it is the first of a group.
    pub(in super::super) group: Option<String>,
    /// Written left of the bar.
    pub(in super::super) name: String,
    /// The class of each part's colour, its length, and what it says where a pointer rests on it.
    pub(in super::super) parts: Vec<(&'static str, f64, String)>,
    /// Written right of the bar.
    pub(in super::super) total: String,
}

const HEIGHT: f64 = 16.0;
const STEP: f64 = 24.0;

impl BarChart<'_> {
    /// The chart as a figure; nothing if it has no bars.
    pub(in super::super) fn draw(&self) -> Markup {
        let length = |bar: &Bar| bar.parts.iter().map(|(_, length, _)| length).sum::<f64>();
        let longest = self.bars.iter().map(length).fold(0.0, f64::max);
        if longest <= 0.0 {
            return html! {};
        }
        let name_width = self.bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
        let left = 10.0 + 8.0 * name_width as f64;
        let x = Scale::exact([0.0, longest], 4, [left, WIDTH - 80.0]);
        let mut bottom = 4.0;
        let mut rows = Vec::new();
        for bar in &self.bars {
            if bar.group.is_some() {
                bottom += 20.0;
            }
            rows.push((bar, bottom));
            bottom += STEP;
        }
        let drawing = html! {
            @for (value, text) in x.ticks() {
                line.grid x1=(unit(x.at(value))) x2=(unit(x.at(value))) y1="0" y2=(unit(bottom)) {}
                text.tick.middle x=(unit(x.at(value))) y=(unit(bottom + 15.0)) { (text) }
            }
            text.small.middle x=(unit(f64::midpoint(x.at(0.0), x.at(longest)))) y=(unit(bottom + 33.0)) {
                (self.x_title)
            }
            @for (bar, top) in rows {
                @if let Some(group) = &bar.group {
                    text.group x="0" y=(unit(top - 6.0)) { (group) }
                }
                text.tick.end x=(unit(left - 7.0)) y=(unit(top + 12.5)) { (bar.name) }
                (parts(bar, &x, top))
                text.tick x=(unit(x.at(length(bar)) + 7.0)) y=(unit(top + 12.5)) { (bar.total) }
            }
        };
        figure(&self.caption, bottom + 40.0, &drawing)
    }
}

fn parts(bar: &Bar, x: &Scale, top: f64) -> Markup {
    let mut start = 0.0;
    let drawn = bar.parts.iter().map(|(class, length, hint)| {
        let [from, to] = [x.at(start), x.at(start + length)];
        start += length;
        (*class, from, to - from, hint)
    });
    let drawn: Vec<_> = drawn.filter(|(_, _, width, _)| *width > 0.0).collect();
    html! {
        @for (class, from, width, hint) in drawn {
            rect class=(format!("part {class}")) x=(unit(from)) y=(unit(top)) width=(unit(width))
                height=(unit(HEIGHT)) { title { (hint) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(lengths: &[f64]) -> Bar {
        let part = |length: &f64| ("train", *length, format!("training {length} min"));
        Bar {
            group: None,
            name: "run_0".to_owned(),
            parts: lengths.iter().map(part).collect(),
            total: "3.00 min".to_owned(),
        }
    }

    fn drawn(bars: Vec<Bar>) -> String {
        let caption = Caption { id: "t", title: "Time", description: String::new() };
        BarChart { caption, x_title: "minutes", bars }.draw().into_string()
    }

    #[test]
    fn parts_lie_end_to_end_and_empty_ones_are_left_out() {
        let text = drawn(vec![bar(&[1.0, 0.0, 2.0])]);
        let attribute = |name: &str| -> Vec<f64> {
            let values = text.split("<rect").skip(1).map(|rect| {
                let value = rect.split(&format!(" {name}=\"")).nth(1).unwrap();
                value.split('"').next().unwrap().parse().unwrap()
            });
            values.collect()
        };
        let (x, width) = (attribute("x"), attribute("width"));
        assert_eq!(x.len(), 2, "{text}");
        assert!((x[0] + width[0] - x[1]).abs() < 0.2 && (2.0 * width[0] - width[1]).abs() < 0.2);
    }

    #[test]
    fn no_time_is_no_chart() {
        assert_eq!(drawn(vec![bar(&[0.0])]), "");
        assert_eq!(drawn(Vec::new()), "");
    }
}
