//! Compares the tensors of a file with those of a network.

use std::collections::BTreeMap;

use super::{
    error::{WeightsError, listed},
    file::WeightsFile,
};
use crate::model::{ModelConfig, ModelSpec, TensorShape};

/// The last layer, which depends on the number of classes.
const HEAD: [&str; 2] = ["fc.weight", "fc.bias"];

/// Which tensors of a network come from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Names in the network and in the file.
    pub taken: Vec<[String; 2]>,
    /// Numbers of classes in the file and in the network, if they differ. The last layer is then new.
    pub other_classes: Option<[usize; 2]>,
    /// Names in the file for which the network has no tensor.
    pub unused: Vec<String>,
}

impl Fit {
    /// Where the tensors of `file` belong in the network of `spec`.
    pub fn of(file: &WeightsFile, spec: &ModelSpec) -> Result<Self, WeightsError> {
        let mut names: BTreeMap<&str, &str> = file.names().collect();
        let (mut taken, mut missing, mut other_classes) = (Vec::new(), Vec::new(), None);
        for TensorShape { name, shape: wanted } in spec.tensor_shapes() {
            let Some(in_file) = names.remove(name.as_str()) else {
                missing.push(name);
                continue;
            };
            let found = &file.shapes[in_file];
            if *found == wanted {
                taken.push([name, in_file.to_owned()]);
            } else if HEAD.contains(&name.as_str()) && found.get(1..) == wanted.get(1..) {
                other_classes = Some([found[0], wanted[0]]);
            } else {
                let (path, found) = (file.path.clone(), found.clone());
                return Err(WeightsError::Shape { path, name, found, wanted });
            }
        }
        if !missing.is_empty() {
            let cure = cure(file, spec, &missing);
            return Err(WeightsError::Lacks { path: file.path.clone(), names: missing, cure });
        }
        let is_counter = |name: &str| name.ends_with("num_batches_tracked");
        let unused = names.into_iter().filter(|(bare, _)| !is_counter(bare));
        let unused = unused.map(|(_, in_file)| in_file.to_owned()).collect();
        Ok(Self { taken, other_classes, unused })
    }

    /// What a user should know: how many tensors were taken, and what was left out.
    pub fn describe(&self) -> String {
        let head = self.other_classes.map(|[found, wanted]| {
            format!("the last layer is new ({found} classes there, {wanted} here)")
        });
        let unused =
            (!self.unused.is_empty()).then(|| format!("left out: {}", listed(&self.unused)));
        let taken = format!("{} tensors", self.taken.len());
        [Some(taken), head, unused].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// What helps if the file has no tensors of these names.
fn cure(file: &WeightsFile, spec: &ModelSpec, missing: &[String]) -> String {
    if missing.iter().all(|name| name.contains(".se.")) {
        return "remove algorithms.squeeze_excite, which these weights were trained without"
            .to_owned();
    }
    let other = file.network().ok().filter(|it| it.spec(1).depths != spec.depths);
    let other = other.map(|it| format!(" ({})", described(&it)));
    format!("set model.arch to the network of the weights{}", other.unwrap_or_default())
}

fn described(network: &ModelConfig) -> String {
    match &network.custom {
        None => format!("{:?}", network.arch).to_lowercase(),
        Some(custom) => format!("custom, depths {:?}, width {}", custom.depths, custom.width),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::Arch;

    fn spec(arch: Arch, num_classes: usize) -> ModelSpec {
        ModelConfig { arch, ..ModelConfig::default() }.spec(num_classes)
    }

    /// A file as other programs write it.
    fn file(spec: &ModelSpec, prefix: &str) -> WeightsFile {
        let named =
            spec.tensor_shapes().into_iter().map(|it| (format!("{prefix}{}", it.name), it.shape));
        let counter = (format!("{prefix}bn1.num_batches_tracked"), vec![]);
        let shapes = named.chain([counter]).collect();
        WeightsFile { path: PathBuf::from("w.safetensors"), usage: None, shapes }
    }

    #[test]
    fn the_network_is_read_off_names_and_shapes() {
        for arch in Arch::NAMED {
            for prefix in ["", "module.", "module._orig_mod."] {
                let network = file(&spec(arch, 12), prefix).network().unwrap();
                assert_eq!((network.arch, network.num_classes), (arch, 12));
            }
        }
        let narrow = ModelSpec { width: 16, depths: vec![1, 1], ..spec(Arch::Resnet18, 3) };
        let network = file(&narrow, "").network().unwrap();
        assert_eq!(network.spec(3), narrow);
        let mut other = file(&narrow, "");
        other.shapes.remove("layer1.0.conv1.weight");
        assert!(other.network().unwrap_err().to_string().contains("no layer1.0.conv1.weight"));
    }

    #[test]
    fn equal_networks_fit_whole_and_other_classes_make_a_new_head() {
        let weights = file(&spec(Arch::Resnet50, 1000), "module.");
        let whole = Fit::of(&weights, &spec(Arch::Resnet50, 1000)).unwrap();
        assert_eq!((whole.taken.len(), whole.other_classes, whole.unused.len()), (267, None, 0));
        assert_eq!(whole.taken[0], ["conv1.weight", "module.conv1.weight"]);
        let new = Fit::of(&weights, &spec(Arch::Resnet50, 10)).unwrap();
        assert_eq!((new.taken.len(), new.other_classes), (265, Some([1000, 10])));
        assert!(new.describe().contains("1000 classes there, 10 here"), "{}", new.describe());
    }

    #[test]
    fn other_networks_are_refused_by_what_differs() {
        let of = |weights: &WeightsFile, spec: &ModelSpec| {
            Fit::of(weights, spec).unwrap_err().to_string()
        };
        let smaller = of(&file(&spec(Arch::Resnet18, 10), ""), &spec(Arch::Resnet34, 10));
        assert!(
            smaller.contains("lacks layer1.2.conv1.weight") && smaller.contains("resnet18"),
            "{smaller}"
        );
        let narrow = ModelSpec { width: 32, ..spec(Arch::Resnet18, 10) };
        let wide = of(&file(&spec(Arch::Resnet18, 10), ""), &narrow);
        assert!(wide.contains("conv1.weight is [64, 3, 7, 7]"), "{wide}");
        let larger =
            Fit::of(&file(&spec(Arch::Resnet34, 10), ""), &spec(Arch::Resnet18, 10)).unwrap();
        assert!(larger.describe().contains("left out: layer1.2.bn1.bias"), "{}", larger.describe());
    }
}
