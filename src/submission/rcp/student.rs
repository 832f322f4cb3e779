//! Student's t distribution.

/// 95 % quantile of Student's t for 1, 2, .. degrees of freedom.
const T_95: [f64; 30] = [
    6.313_752, 2.919_986, 2.353_363, 2.131_847, 2.015_048, 1.943_180, 1.894_579, 1.859_548,
    1.833_113, 1.812_461, 1.795_885, 1.782_288, 1.770_933, 1.761_310, 1.753_050, 1.745_884,
    1.739_607, 1.734_064, 1.729_133, 1.724_718, 1.720_743, 1.717_144, 1.713_872, 1.710_882,
    1.708_141, 1.705_618, 1.703_288, 1.701_131, 1.699_127, 1.697_261,
];

/// 95 % quantile of the normal distribution.
const Z_95: f64 = 1.644_853_627;

/// 95 % quantile for `degrees` of freedom, 1 or more. Above the table it is the expansion of
/// Abramowitz and Stegun, 26.7.5, which is exact to 1e-6 there.
pub(super) fn t_95(degrees: usize) -> f64 {
    if let Some(value) = T_95.get(degrees.max(1) - 1) {
        return *value;
    }
    let (z, n) = (Z_95, degrees as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / n + second / n.powi(2) + third / n.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_published_tables() {
        for (degrees, wanted) in
            [(1, 6.313_752), (30, 1.697_261), (40, 1.683_851), (120, 1.657_651)]
        {
            assert!((t_95(degrees) - wanted).abs() < 1e-6, "{degrees}: {}", t_95(degrees));
        }
    }
}
