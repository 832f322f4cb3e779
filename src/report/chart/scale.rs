//! Maps values to places, with round numbers on the axis.

use crate::console::grouped;

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    /// Places of `low` and `high`.
    range: [f64; 2],
    step: f64,
}

impl Scale {
    /// An axis over at least `low` to `high`, whose ends are round numbers, with about `num_steps`
    /// steps between.
    pub(super) fn round([low, high]: [f64; 2], num_steps: usize, range: [f64; 2]) -> Self {
        let high = if high > low { high } else { low + low.abs().max(1.0) };
        let step = round_step((high - low) / num_steps as f64);
        let round = |value: f64, to: fn(f64) -> f64| {
            let steps = value / step;
            // 3 * 0.1 is a little more than 0.3.
            let nearest = steps.round();
            step * if (steps - nearest).abs() < 1e-9 { nearest } else { to(steps) }
        };
        Self { low: round(low, f64::floor), high: round(high, f64::ceil), range, step }
    }

    /// An axis that ends exactly at `high`, with round numbers between.
    pub(super) fn exact([low, high]: [f64; 2], num_steps: usize, range: [f64; 2]) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, range, step: round_step((high - low) / num_steps as f64) }
    }

    /// The same with steps of whole numbers.
    pub(super) fn whole(mut self) -> Self {
        self.step = self.step.max(1.0).round();
        self
    }

    /// The place of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let [start, end] = self.range;
        start + (value - self.low) / (self.high - self.low) * (end - start)
    }

    /// The end of the axis.
    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// The values to write at the axis, each with its text.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step - 1e-9).ceil() as i64;
        let last = (self.high / self.step + 1e-9).floor() as i64;
        let decimals = (-self.step.log10() - 1e-9).ceil().max(0.0) as usize;
        let text = |value: f64| {
            if value >= 10_000.0 { grouped(value) } else { format!("{value:.decimals$}") }
        };
        (first..=last).map(|i| i as f64 * self.step).map(|value| (value, text(value))).collect()
    }
}

/// The smallest of 1, 2, 5, 10, .. times a power of ten that is not less than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors.into_iter().find(|factor| step <= factor * power * (1.0 + 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ends_and_ticks_are_round() {
        let scale = Scale::round([24.2, 77.1], 6, [100.0, 0.0]);
        assert_eq!(texts(&scale), ["20", "30", "40", "50", "60", "70", "80"]);
        assert!((scale.at(20.0) - 100.0).abs() < 1e-9 && scale.at(80.0).abs() < 1e-9);
        let scale = Scale::round([0.0, 0.43], 4, [0.0, 1.0]);
        assert_eq!(texts(&scale), ["0.0", "0.2", "0.4", "0.6"]);
        let scale = Scale::round([0.0, 32_500.0], 4, [0.0, 1.0]);
        assert_eq!(texts(&scale), ["0", "10 000", "20 000", "30 000", "40 000"]);
    }

    #[test]
    fn an_exact_axis_ends_with_the_data() {
        let scale = Scale::exact([0.0, 1.06], 4, [0.0, 106.0]);
        assert!((scale.at(1.06) - 106.0).abs() < 1e-9);
        assert_eq!(texts(&scale), ["0.0", "0.5", "1.0"]);
        assert_eq!(texts(&Scale::exact([0.0, 3.0], 6, [0.0, 1.0]).whole()), ["0", "1", "2", "3"]);
    }

    #[test]
    fn one_value_has_an_axis_too() {
        for scale in
            [Scale::round([5.0, 5.0], 4, [0.0, 1.0]), Scale::round([0.0; 2], 4, [0.0, 1.0])]
        {
            assert!(scale.at(5.0).is_finite() && scale.ticks().len() >= 2, "{scale:?}");
        }
    }
}
