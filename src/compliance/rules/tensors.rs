//! The tensors whose initialization the closed division required in the log from 1.1.0 to 2.1.0,
//! with the names that the rules took from `MXNet`'s model.

/// Bottleneck units in each stage of ResNet-50.
const UNITS: [usize; 4] = [3, 4, 6, 3];

/// All 161 names, sorted.
pub(crate) fn reference_tensors() -> Vec<String> {
    let mut names: Vec<String> =
        ["bn0_beta", "bn0_gamma", "conv0_weight", "fc1_bias", "fc1_weight"].map(Into::into).into();
    for (stage, units) in (1..).zip(UNITS) {
        for unit in 1..=units {
            // The first unit of a stage also has a convolution and a norm in its shortcut.
            let parts: &[&str] = if unit == 1 { &["1", "2", "3", "sc"] } else { &["1", "2", "3"] };
            for part in parts {
                let at = format!("stage{stage}_unit{unit}");
                let conv = if *part == "sc" { "1sc" } else { part };
                names.push(format!("{at}_conv{conv}_weight"));
                names.push(format!("{at}_bn{part}_beta"));
                names.push(format!("{at}_bn{part}_gamma"));
            }
        }
    }
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_161_names_and_no_repeats() {
        let mut names = reference_tensors();
        names.dedup();
        assert_eq!(names.len(), 161);
        assert!(names.contains(&"stage1_unit1_conv1sc_weight".into()));
        assert!(names.contains(&"stage3_unit6_bn3_gamma".into()));
    }
}
