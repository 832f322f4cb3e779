//! Charts: pure functions from numbers to SVG. Colours are classes, which the page's style sheet sets
//! for light and dark.
//!
//! A drawing is 440 units wide, so that its text can be read where it is scaled to a phone.

mod bars;
mod dots;
mod label;
mod lines;
mod scale;

use maud::{Markup, html};

pub(super) use bars::{Bar, BarChart};
pub(super) use dots::{Dot, DotChart, DotRow};
pub(super) use lines::{LineChart, PUBLISHED, Point, Series};

/// Width of every drawing.
const WIDTH: f64 = 440.0;

/// Classes of the systems' colours. Further systems start again.
pub(super) const COLOURS: [&str; 4] = ["c1", "c2", "c3", "c4"];

/// What a chart is called, and what it says, for those who do not see it.
#[derive(Clone, Debug)]
pub(super) struct Caption<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    /// The title above it.
    pub(super) title: &'a str,
    /// The longer description.
    pub(super) description: String,
}

/// A coordinate, to a tenth of a unit.
fn unit(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A figure with a drawing of the given height.
fn figure(caption: &Caption, height: f64, drawing: &Markup) -> Markup {
    let Caption { id, title, description } = caption;
    html! {
        figure {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {}", unit(height))) role="img"
                aria-labelledby=(format!("{id}-title {id}-desc")) {
                title id=(format!("{id}-title")) { (title) }
                desc id=(format!("{id}-desc")) { (description) }
                (drawing)
            }
        }
    }
}
