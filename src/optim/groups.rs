//! Which parameters decay: the split of a network's parameters into optimizer groups.

use super::config::NoDecay;

/// Whether weight decay acts on the parameter `name` of `dim` dimensions.
pub fn decays(name: &str, dim: usize, exempt: &[NoDecay]) -> bool {
    let is_bias = name.ends_with("bias");
    let is_bn = dim == 1 && !name.starts_with("fc.");
    !exempt.iter().any(|rule| match rule {
        NoDecay::Bn => is_bn,
        NoDecay::Bias => is_bias,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bn_and_bias_are_told_apart_by_torchvisions_names() {
        let cases = [
            ("layer2.0.downsample.0.weight", 4, [true, true]),
            ("layer2.0.downsample.1.weight", 1, [false, true]),
            ("bn1.bias", 1, [false, false]),
            ("fc.weight", 2, [true, true]),
            ("fc.bias", 1, [true, false]),
        ];
        for (name, dim, [without_bn, without_bias]) in cases {
            assert_eq!(decays(name, dim, &[NoDecay::Bn]), without_bn, "{name}");
            assert_eq!(decays(name, dim, &[NoDecay::Bias]), without_bias, "{name}");
            assert!(decays(name, dim, &[]));
        }
    }
}
