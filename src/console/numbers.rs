//! Formats numbers for people.

use std::time::Duration;

/// A count with separated thousands: `12 345`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 rank`, `2 ranks`.
pub fn counted(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number as f64), if number == 1 { "" } else { "s" })
}

/// A fraction as a percentage: `71.30 %` with two decimals.
pub fn percent(fraction: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * fraction)
}

/// A duration in its two largest units: `1 h 05 min`, `1 min 20 s`, `9 s`.
pub(super) fn duration(length: Duration) -> String {
    match length.as_secs() {
        s @ ..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (number, text) in [(0.0, "0"), (999.4, "999"), (12_345.0, "12 345"), (1e6, "1 000 000")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn one_thing_has_no_plural_s() {
        assert_eq!(counted(1, "rank"), "1 rank");
        assert_eq!(counted(1600, "image"), "1 600 images");
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [(9, "9 s"), (80, "1 min 20 s"), (3900, "1 h 05 min")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn fractions_become_percentages() {
        assert_eq!(percent(0.713, 2), "71.30 %");
        assert_eq!(percent(0.003, 1), "0.3 %");
    }
}
