//! Weights as safetensors under torchvision's names, so that
//! `torchvision.models.resnet50().load_state_dict` takes them.

use std::{fs, path::Path};

use tch::{Kind, Tensor, no_grad};

use super::{
    error::TrainError,
    tensor_file::{self, TensorFile},
};
use crate::{
    atomic_file,
    model::{ModelSpec, Named, Weights},
    weights::{Fit, Usage, WeightsFile},
};

/// Writes parameters and buffers to `path`, in fp32, as a whole or not at all. `num_steps` becomes batch
/// norm's `num_batches_tracked`.
pub fn save_weights(
    weights: &Weights,
    num_steps: usize,
    usage: &Usage,
    path: &Path,
) -> Result<(), TrainError> {
    let mut named: Vec<Named> = Vec::new();
    for (name, tensor) in weights.all() {
        named.push((name.clone(), tensor.detach().to_kind(Kind::Float)));
        if let Some(bn) = name.strip_suffix("running_var") {
            let counter = Tensor::from(num_steps as i64);
            named.push((format!("{bn}num_batches_tracked"), counter));
        }
    }
    let failed = |reason| TrainError::TensorFile { path: path.to_owned(), reason };
    let bytes = tensor_file::encode(&named, Some(usage.to_metadata())).map_err(failed)?;
    atomic_file::write(path, &bytes)
        .map_err(|source| TrainError::File { path: path.to_owned(), source })
}

/// Puts the weights of the file at `path` into the network of `spec`. A last layer for another number of
/// classes stays as it is.
pub(super) fn load_weights(
    weights: &Weights,
    spec: &ModelSpec,
    path: &Path,
) -> Result<(), TrainError> {
    let file = WeightsFile::open(path)?;
    let fit = Fit::of(&file, spec)?;
    let bytes =
        fs::read(path).map_err(|source| TrainError::File { path: path.to_owned(), source })?;
    let failed = |reason| TrainError::TensorFile { path: path.to_owned(), reason };
    let tensors = TensorFile::decode(&bytes).map_err(failed)?;
    for [name, in_file] in &fit.taken {
        let unknown = || failed(format!("{in_file} has an unknown kind of numbers"));
        let loaded = tensors.get(in_file).ok_or_else(unknown)?;
        let tensor = weights.get(name).expect("the shapes of a network are those of its tensors");
        no_grad(|| tensor.shallow_clone().copy_(&loaded));
    }
    Ok(())
}
