//! Names of tensors, as torchvision's networks have them.

/// Whether `tensor` belongs to `module`: a layer, a block or a stage, as `conv1` or `layer2.0`.
pub fn is_in_module(tensor: &str, module: &str) -> bool {
    tensor.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}

/// The layer that `tensor` belongs to, as `layer2.0.conv1` of `layer2.0.conv1.weight`.
pub fn layer_of(tensor: &str) -> &str {
    tensor.rsplit_once('.').map_or(tensor, |(layer, _)| layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_whole_parts_of_a_name() {
        let tensor = "layer2.0.downsample.1.weight";
        for module in ["layer2", "layer2.0", "layer2.0.downsample", "layer2.0.downsample.1"] {
            assert!(is_in_module(tensor, module), "{module}");
        }
        for module in ["layer", "layer2.", "layer2.0.down", tensor, "", "fc"] {
            assert!(!is_in_module(tensor, module), "{module}");
        }
    }
}
