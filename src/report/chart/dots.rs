//! Minutes of single runs as dots on one line for each system.

use maud::{Markup, html};

use super::{Caption, WIDTH, figure, scale::Scale, unit};

/// A line of dots for each system.
#[derive(Clone, Debug)]
pub(in super::super) struct DotChart<'a> {
    pub(in super::super) caption: Caption<'a>,
    /// What the axis shows, with its unit.
    pub(in super::super) x_title: &'a str,
    pub(in super::super) rows: Vec<DotRow>,
}

/// One system.
#[derive(Clone, Debug)]
pub(in super::super) struct DotRow {
    pub(in super::super) label: String,
    /// The class of its colour.
    pub(in super::super) class: String,
    pub(in super::super) dots: Vec<Dot>,
    /// Its result, drawn as a line with a text.
    pub(in super::super) mean: Option<(f64, String)>,
}

/// One run.
#[derive(Clone, Debug)]
pub(in super::super) struct Dot {
    pub(in super::super) minutes: f64,
    /// Whether it counts for the mean. A run that does not is drawn as a ring.
    pub(in super::super) counts: bool,
    /// What it says where a pointer rests on it.
    pub(in super::super) hint: String,
}

const STEP: f64 = 46.0;

impl DotChart<'_> {
    /// The chart as a figure; nothing if it has no dots.
    pub(in super::super) fn draw(&self) -> Markup {
        let values = self.rows.iter().flat_map(|row| {
            let dots = row.dots.iter().map(|dot| dot.minutes);
            dots.chain(row.mean.as_ref().map(|(minutes, _)| *minutes))
        });
        let longest = values.fold(0.0, f64::max);
        if longest <= 0.0 {
            return html! {};
        }
        let x = Scale::exact([0.0, longest], 5, [8.0, WIDTH - 20.0]);
        let bottom = STEP * self.rows.len() as f64 + 6.0;
        let drawing = html! {
            @for (value, text) in x.ticks() {
                line.grid x1=(unit(x.at(value))) x2=(unit(x.at(value))) y1="0" y2=(unit(bottom)) {}
                text.tick.middle x=(unit(x.at(value))) y=(unit(bottom + 15.0)) { (text) }
            }
            text.small.middle x=(unit(f64::midpoint(x.at(0.0), x.at(longest)))) y=(unit(bottom + 33.0)) {
                (self.x_title)
            }
            @for (index, row) in self.rows.iter().enumerate() {
                (line(row, &x, STEP * index as f64))
            }
        };
        figure(&self.caption, bottom + 40.0, &drawing)
    }
}

fn line(row: &DotRow, x: &Scale, top: f64) -> Markup {
    let at_y = top + 33.0;
    html! {
        g class=(row.class) {
            text.label x="8" y=(unit(top + 16.0)) { (row.label) }
            line.axis x1=(unit(x.at(0.0))) x2=(unit(x.at(x.high()))) y1=(unit(at_y)) y2=(unit(at_y)) {}
            @if let Some((minutes, text)) = &row.mean {
                line.mean x1=(unit(x.at(*minutes))) x2=(unit(x.at(*minutes))) y1=(unit(at_y - 10.0))
                    y2=(unit(at_y + 10.0)) {}
                text.value.end x=(unit(WIDTH - 4.0)) y=(unit(top + 16.0)) { (text) }
            }
            @for dot in &row.dots {
                circle class=(if dot.counts { "dot" } else { "ring" }) cx=(unit(x.at(dot.minutes)))
                    cy=(unit(at_y)) r="4.5" { title { (dot.hint) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_do_not_count_are_rings() {
        let dot = |minutes, counts| Dot { minutes, counts, hint: format!("{minutes} min") };
        let row = DotRow {
            label: "box".to_owned(),
            class: "c1".to_owned(),
            dots: vec![dot(1.0, true), dot(2.0, true), dot(3.0, false)],
            mean: Some((1.5, "1.50 min".to_owned())),
        };
        let caption = Caption { id: "m", title: "Minutes", description: String::new() };
        let text = DotChart { caption, x_title: "minutes", rows: vec![row] }.draw().into_string();
        assert_eq!(text.matches("class=\"dot\"").count(), 2, "{text}");
        assert_eq!(text.matches("class=\"ring\"").count(), 1, "{text}");
        assert!(text.contains("1.50 min</text>"), "{text}");
    }
}
