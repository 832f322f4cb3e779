//! Weight names in the closed division's `weights_initialization` records. They are those of the
//! `MXNet` network for which the rules were written.

/// The `MXNet` name of torchvision's `ResNet` parameter `name`, or `None` if there is none.
///
/// For example, `layer2.0.downsample.0.weight` becomes `stage2_unit1_conv1sc_weight`.
pub fn reference_name(name: &str) -> Option<String> {
    let (layer, kind) = name.rsplit_once('.')?;
    let parts: Vec<&str> = layer.split('.').collect();
    let norm = |at: &str| match kind {
        "weight" => Some(format!("{at}_gamma")),
        "bias" => Some(format!("{at}_beta")),
        _ => None,
    };
    match parts.as_slice() {
        ["conv1"] => Some("conv0_weight".to_owned()),
        ["bn1"] => norm("bn0"),
        ["fc"] => Some(format!("fc1_{kind}")),
        [stage, block, rest @ ..] => {
            let stage = stage.strip_prefix("layer")?;
            let unit = block.parse::<usize>().ok()? + 1;
            let at = format!("stage{stage}_unit{unit}");
            match rest {
                ["downsample", "0"] => Some(format!("{at}_conv1sc_weight")),
                ["downsample", "1"] => norm(&format!("{at}_bnsc")),
                [part] if part.starts_with("conv") => Some(format!("{at}_{part}_weight")),
                [part] if part.starts_with("bn") => norm(&format!("{at}_{part}")),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::reference_name;

    #[test]
    fn torchvisions_names_have_their_counterparts() {
        for (ours, theirs) in [
            ("conv1.weight", "conv0_weight"),
            ("bn1.bias", "bn0_beta"),
            ("layer1.0.conv1.weight", "stage1_unit1_conv1_weight"),
            ("layer3.5.bn3.weight", "stage3_unit6_bn3_gamma"),
            ("layer2.0.downsample.0.weight", "stage2_unit1_conv1sc_weight"),
            ("layer4.0.downsample.1.bias", "stage4_unit1_bnsc_beta"),
            ("fc.bias", "fc1_bias"),
        ] {
            assert_eq!(reference_name(ours).as_deref(), Some(theirs));
        }
        assert_eq!(reference_name("layer1.0.se.weight"), None);
        assert_eq!(reference_name("head"), None);
    }
}
