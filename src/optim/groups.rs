//! Which parameters a rule leaves out, by torchvision's names.

use super::config::{Exempt, OptimizerConfig, OptimizerName, UpdateConstants};
use crate::tensor_name::is_in_module;

/// Decay of the parameter `name` of `dim` dimensions, with the constants `now`.
pub(super) fn weight_decay(
    config: &OptimizerConfig,
    now: UpdateConstants,
    (name, dim): (&str, usize),
) -> f64 {
    let is_last_bias = config.name == OptimizerName::Lars && name == "fc.bias";
    if is_exempt(name, dim, &config.no_decay()) && !(is_last_bias && config.decay_fc_bias()) {
        return 0.0;
    }
    now.weight_decay
}

/// Whether the parameter `name` of `dim` dimensions is one of `exempt`.
pub(super) fn is_exempt(name: &str, dim: usize, exempt: &[Exempt]) -> bool {
    let is_bias = name.ends_with("bias");
    let is_bn = dim == 1 && !name.starts_with("fc.");
    exempt.iter().any(|kind| match kind {
        Exempt::Bn => is_bn,
        Exempt::Bias => is_bias,
    })
}

/// Factor on the learning rate of the parameter `name`: that of the smallest module around it.
pub(super) fn lr_multiplier(config: &OptimizerConfig, name: &str) -> f64 {
    let around = config.lr_multipliers.iter().filter(|(module, _)| is_in_module(name, module));
    around.max_by_key(|(module, _)| module.len()).map_or(1.0, |(_, factor)| *factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_module_around_a_parameter_has_its_learning_rate() {
        let factors = [("layer1", 0.1), ("layer1.0", 0.2), ("fc", 10.0)];
        let lr_multipliers = factors.map(|(name, factor)| (name.to_owned(), factor)).into();
        let config = OptimizerConfig { lr_multipliers, ..OptimizerConfig::default() };
        for (name, factor) in [
            ("layer1.0.conv1.weight", 0.2),
            ("layer1.1.conv1.weight", 0.1),
            ("layer10.0.conv1.weight", 1.0),
            ("fc.bias", 10.0),
            ("conv1.weight", 1.0),
        ] {
            assert_eq!(lr_multiplier(&config, name).to_bits(), f64::to_bits(factor), "{name}");
        }
    }

    #[test]
    fn bn_and_bias_are_told_apart_by_torchvisions_names() {
        let cases = [
            ("layer2.0.downsample.0.weight", 4, [false, false]),
            ("layer2.0.downsample.1.weight", 1, [true, false]),
            ("bn1.bias", 1, [true, true]),
            ("fc.weight", 2, [false, false]),
            ("fc.bias", 1, [false, true]),
        ];
        for (name, dim, [is_bn, is_bias]) in cases {
            assert_eq!(is_exempt(name, dim, &[Exempt::Bn]), is_bn, "{name}");
            assert_eq!(is_exempt(name, dim, &[Exempt::Bias]), is_bias, "{name}");
            assert!(!is_exempt(name, dim, &[]));
        }
    }
}
