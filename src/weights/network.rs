//! Reads the network of weights off their names and shapes.

use super::{error::WeightsError, file::WeightsFile};
use crate::model::{Arch, Block, CustomConfig, ModelConfig};

impl WeightsFile {
    /// The network of the weights, with the number of its classes.
    pub fn network(&self) -> Result<ModelConfig, WeightsError> {
        let [width, ..] = self.shape("conv1.weight")?[..] else {
            return Err(self.lacking("conv1"));
        };
        let [num_classes, ..] = self.shape("fc.weight")?[..] else {
            return Err(self.lacking("fc"));
        };
        let names: Vec<&str> = self.names().map(|(name, _)| name).collect();
        let has = |name: String| names.contains(&name.as_str());
        let is_bottleneck = has("layer1.0.conv3.weight".to_owned());
        let block = if is_bottleneck { Block::Bottleneck } else { Block::Basic };
        let depth = |stage: usize| {
            let conv = |block: &usize| has(format!("layer{stage}.{block}.conv1.weight"));
            (0..self.shapes.len()).take_while(conv).count()
        };
        let depths: Vec<usize> = (1..=4).map(depth).take_while(|&depth| depth > 0).collect();
        if depths.is_empty() {
            return Err(self.lacking("layer1.0.conv1.weight"));
        }
        let config = ModelConfig { num_classes, ..ModelConfig::default() };
        let arch = Arch::NAMED.into_iter().find(|&arch| {
            let spec = ModelConfig { arch, ..config.clone() }.spec(num_classes);
            (spec.block, &spec.depths, spec.width) == (block, &depths, width)
        });
        let custom = arch.is_none().then_some(CustomConfig { block, depths, width });
        Ok(ModelConfig { arch: arch.unwrap_or(Arch::Custom), custom, ..config })
    }

    /// Names without the prefixes that wrappers add, and the names in the file.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shapes.keys().map(|name| (bare(name), name.as_str()))
    }

    fn shape(&self, name: &str) -> Result<&Vec<usize>, WeightsError> {
        let found = self.names().find(|(bare, _)| *bare == name);
        found.map(|(_, name)| &self.shapes[name]).ok_or_else(|| self.lacking(name))
    }

    fn lacking(&self, name: &str) -> WeightsError {
        let reason = format!("it has no {name}");
        WeightsError::NotResNet { path: self.path.clone(), reason }
    }
}

/// Prefixes of `DataParallel`, `torch.compile`, Lightning and Composer.
const PREFIXES: [&str; 4] = ["module.", "_orig_mod.", "model.", "state_dict."];

fn bare(name: &str) -> &str {
    let prefix = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    prefix.map_or(name, bare)
}
