//! Places the labels of lines near their ends, where they cover least.

use super::{WIDTH, lines::Series, scale::Scale};

/// Units that a character takes at most, on a phone, and the height of a line of text.
const CHARACTER: f64 = 8.8;
const HEIGHT: f64 = 16.0;
/// The longest label, in characters.
const LONGEST: usize = 18;
/// Lines that end in this share of the axis have their labels right of it.
const AT_THE_END: f64 = 0.85;

/// A label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label {
    pub(super) text: String,
    /// The class of its line's colour.
    pub(super) class: String,
    pub(super) x: f64,
    /// The line on which the text stands.
    pub(super) y: f64,
    /// `start`, `middle` or `end`: what of the text is at `x`.
    pub(super) anchor: &'static str,
}

/// What a label covers: left, right, top, bottom.
type Extent = [f64; 4];

/// Space right of the axis for the labels of lines that end near `x_end`.
pub(super) fn margin(series: &[Series], x_end: f64) -> f64 {
    let ends_late =
        |series: &&Series| series.points.last().is_some_and(|point| point.x >= AT_THE_END * x_end);
    let longest = series.iter().filter(ends_late).map(|series| text(series).chars().count()).max();
    match longest.unwrap_or(0) {
        0 => 14.0,
        longest => 12.0 + CHARACTER * longest as f64,
    }
}

/// Places the labels of all lines that have one, and none on `other`.
pub(super) fn placed(
    series: &[Series],
    (x, y): (&Scale, &Scale),
    other: Option<&Label>,
) -> Vec<Label> {
    let covered: Vec<[f64; 2]> = series.iter().flat_map(|series| samples(series, x, y)).collect();
    let mut labels: Vec<Label> = other.cloned().into_iter().collect();
    for series in series.iter().filter(|series| !series.label.is_empty()) {
        let Some(end) = series.points.last() else { continue };
        let candidates = candidates(series, [x.at(end.x), y.at(end.y)]);
        let best = candidates.into_iter().min_by(|a, b| {
            let cost = |label: &Label| cost(label, &covered, &labels);
            cost(a).total_cmp(&cost(b))
        });
        labels.extend(best);
    }
    labels.split_off(usize::from(other.is_some()))
}

fn text(series: &Series) -> String {
    if series.label.chars().count() <= LONGEST {
        return series.label.clone();
    }
    // Names differ at their ends more often than in the middle.
    let all: Vec<char> = series.label.chars().collect();
    let (start, end) = (LONGEST / 2, LONGEST - 1 - LONGEST / 2);
    all[..start].iter().chain(&['\u{2026}']).chain(&all[all.len() - end..]).collect()
}

/// Places near the end of a line, the preferred ones first.
fn candidates(series: &Series, [x, y]: [f64; 2]) -> Vec<Label> {
    let label =
        |anchor, x, y| Label { text: text(series), class: series.class.clone(), x, y, anchor };
    let mut all = vec![label("start", x + 7.0, y + 4.5)];
    for step in 0..4 {
        let far = HEIGHT * f64::from(step);
        all.push(label("middle", x, y - 9.0 - far));
        all.push(label("end", x, y - 9.0 - far));
        all.push(label("middle", x, y + 19.0 + far));
        all.push(label("end", x, y + 19.0 + far));
        all.push(label("start", x + 7.0, y + 4.5 - far - HEIGHT));
        all.push(label("start", x + 7.0, y + 4.5 + far + HEIGHT));
    }
    all
}

/// How bad a place is: what it covers, and what it sticks out of the drawing.
fn cost(label: &Label, covered: &[[f64; 2]], others: &[Label]) -> f64 {
    let [left, right, top, bottom] = extent(label);
    let hides = |[x, y]: &&[f64; 2]| (left..right).contains(x) && (top..bottom).contains(y);
    let overlaps = |other: &&Label| {
        let [l, r, t, b] = extent(other);
        left < r && l < right && top < b && t < bottom
    };
    let outside = (right - WIDTH).max(0.0) + (48.0 - left).max(0.0) + (14.0 - top).max(0.0);
    let num_hidden = covered.iter().filter(hides).count() as f64;
    let num_overlaps = others.iter().filter(overlaps).count() as f64;
    num_hidden + 1000.0 * num_overlaps + 100.0 * outside
}

fn extent(label: &Label) -> Extent {
    let width = CHARACTER * label.text.chars().count() as f64;
    let left = match label.anchor {
        "start" => label.x,
        "middle" => label.x - width / 2.0,
        _ => label.x - width,
    };
    [left, left + width, label.y - 12.0, label.y + 4.0]
}

/// Points of a line, a few units apart.
fn samples(series: &Series, x: &Scale, y: &Scale) -> Vec<[f64; 2]> {
    let places: Vec<[f64; 2]> =
        series.points.iter().map(|point| [x.at(point.x), y.at(point.y)]).collect();
    let between = places.windows(2).flat_map(|pair| {
        let [from, to] = [pair[0], pair[1]];
        let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
        // `f64::hypot` would be the only call that needs glibc 2.35 instead of 2.34.
        let length = (dx * dx + dy * dy).sqrt();
        let num = (length / 4.0).ceil().clamp(1.0, 200.0) as usize;
        (0..num).map(move |i| {
            let share = i as f64 / num as f64;
            [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]
        })
    });
    between.chain(places.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::lines::Point, *};

    fn series(label: &str, points: &[(f64, f64)]) -> Series {
        let point = |(x, y): &(f64, f64)| Point { x: *x, y: *y, hint: String::new() };
        Series {
            label: label.to_owned(),
            class: "c1".to_owned(),
            points: points.iter().map(point).collect(),
            is_stepped: false,
        }
    }

    fn axes() -> (Scale, Scale) {
        let x = Scale::exact([0.0, 10.0], 5, [48.0, 320.0]);
        (x, Scale::round([0.0, 100.0], 4, [220.0, 20.0]))
    }

    #[test]
    fn labels_do_not_overlap_even_where_lines_end_at_one_place() {
        let (x, y) = axes();
        let lines = ["one", "two", "three"].map(|it| series(it, &[(0.0, 0.0), (10.0, 50.0)]));
        let labels = placed(&lines, (&x, &y), None);
        assert_eq!(labels.len(), 3);
        for (i, one) in labels.iter().enumerate() {
            assert!(cost(one, &[], &labels[..i]) < 1.0, "{labels:?}");
        }
    }

    #[test]
    fn a_label_does_not_lie_on_a_line_that_goes_on() {
        let (x, y) = axes();
        let short = series("short", &[(0.0, 0.0), (5.0, 90.0)]);
        let long = series("long", &[(0.0, 0.0), (5.0, 89.0), (10.0, 91.0)]);
        let covered: Vec<_> =
            [&short, &long].into_iter().flat_map(|line| samples(line, &x, &y)).collect();
        for label in placed(&[short, long], (&x, &y), None) {
            assert!(cost(&label, &covered, &[]) < 1.0, "{label:?}");
        }
    }

    #[test]
    fn only_lines_that_end_late_need_a_margin() {
        let early = series("early", &[(0.0, 0.0), (5.0, 50.0)]);
        let late = series("late", &[(0.0, 0.0), (9.0, 50.0)]);
        assert!(margin(std::slice::from_ref(&early), 10.0) < 15.0);
        assert!(margin(&[early, late], 10.0) > 4.0 * 8.0);
    }

    #[test]
    fn a_long_label_is_cut() {
        let (x, y) = axes();
        let labels = placed(&[series(&"x".repeat(50), &[(0.0, 0.0), (9.0, 1.0)])], (&x, &y), None);
        assert_eq!(labels[0].text.chars().count(), LONGEST);
    }
}
